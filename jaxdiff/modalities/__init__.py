"""Media: how samples of a kind of data are written and looked at.

Images, texts and graphs come off the device as arrays; a Medium says what one
of them is to people, and what a file of it is. Files are written whole or not
at all.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Medium(NamedTuple):
  """Functions on samples: images uint8 [H, W, C], strings, dicts of arrays.

  unit                         what one is called
  suffix                       of the file of one
  endings                      of a file of all; the first is for looking
  split(drawn) -> samples      what a sampler returns, one by one
  save(sample, path)           one, into its file
  read(path) -> sample         and back
  gather(samples, names, path) all into one file; sample i has the name
                               i modulo M, where there are names
  strip(path, stem) -> file    from noise to data, of what a sampler returns
                               with `trajectory`; the ending is the medium's
  """

  unit: str
  suffix: str
  endings: tuple[str, ...]
  split: Callable[[Any], Sequence[Any]]
  save: Callable[[Any, Path], None]
  read: Callable[[Path], Any]
  gather: Callable[[Sequence[Any], Sequence[str], Path], None]
  strip: Callable[[Any, Path], Path]
