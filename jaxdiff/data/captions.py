"""Captions of a folder of images, from its `captions.json`.

  {"a.png": "a cat", "b/c.png": "a dog"}
  [{"file": "a.png", "caption": "a cat"}, {"file": "b/c.png", ...}]

Files are named from where the JSON is; further keys of an entry are ignored.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from jaxdiff.files import read_pieces

_NAMED = 5  # So many files an error names, of possibly thousands.


def read_captions(
  file: Path, images: Collection[Path], known: Collection[Path]
) -> list[str]:
  """Reads the captions of `images`, in their order.

  Raises:
    ValueError: The JSON is broken or laid out otherwise, an image has no
      caption, or a caption is of none of the `known` images.
  """
  try:
    text = ''.join(read_pieces(file))
    content = json.loads(text, object_pairs_hook=_once)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'cannot read the captions {file}: {error}') from error
  if isinstance(content, dict):
    entries = list(content.items())
  elif isinstance(content, list) and all(
    isinstance(entry, dict) and {'file', 'caption'} <= entry.keys()
    for entry in content
  ):
    entries = [(entry['file'], entry['caption']) for entry in content]
  else:
    raise ValueError(
      f'{file} must hold {{file: caption}} or a list of '
      '{"file": ..., "caption": ...}'
    )
  captions: dict[Path, str] = {}
  for name, caption in entries:
    if not isinstance(name, str) or not isinstance(caption, str):
      raise ValueError(
        f'files and captions must be strings, got {name!r}: {caption!r} in '
        f'{file}'
      )
    _check_text(caption, file)
    image = file.parent / name
    if image in captions:
      raise ValueError(f'{file} has two captions of {name}')
    captions[image] = caption
  if absent := [image for image in images if image not in captions]:
    raise ValueError(f'no caption in {file} of {listed(absent)}')
  if absent := sorted(captions.keys() - set(known)):
    raise ValueError(f'{file} has captions of no image: {listed(absent)}')
  return [captions[image] for image in images]


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
  """Makes an object of JSON, each of whose names must be there once."""
  found: dict[str, object] = {}
  for name, value in pairs:
    if name in found:
      raise ValueError(f'{name} is there twice')
    found[name] = value
  return found


def _check_text(text: str, file: Path) -> None:
  """Raises ValueError for half a character, which JSON can write."""
  try:
    text.encode()
  except UnicodeEncodeError:
    raise ValueError(f'{file} has half a character in {text!r}') from None


def listed(files: Sequence[Path | str]) -> str:
  """Names the first few files, and the number of the others."""
  more = len(files) - _NAMED
  names = ', '.join(str(file) for file in files[:_NAMED])
  return names + (f' and {more} more' if more > 0 else '')
