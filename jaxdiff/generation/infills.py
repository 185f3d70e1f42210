"""Infilling: texts whose blanks a model is to write."""

from typing import NamedTuple

import numpy as np

from jaxdiff import files
from jaxdiff.config import Spec
from jaxdiff.data import vocabulary


class Infills(NamedTuple):
  """M texts with blanks."""

  arrays: dict[str, np.ndarray]  # 'x0' and 'known' [M, L], 'size' [M]
  texts: list[str]  # [M], as they were typed


def read_infills(
  spec: Spec, text: str | None, file: str | None, blank: str = '_'
) -> Infills | None:
  """Parses texts with blanks; None where none are given.

  A text shorter than those of the model continues with blanks, unless the
  model's texts differ in length: then it keeps its length.

  Args:
    spec: Of the data of the model.
    text: What was typed.
    file: Of such texts, one a line, instead.
    blank: The character that stands for what is to be written.

  Raises:
    ValueError: A model of other data, unknown characters, a text that is too
      long or has nothing to write.
    FileNotFoundError: There is no such file.
  """
  if text is None and file is None:
    return None
  if spec.symbols is None or isinstance(spec.shape, dict):
    raise ValueError('--infill is for a model of text')
  lines, length = one_or_lines(text, file, 'infill'), spec.shape[0]
  x0 = np.zeros((len(lines), length), np.int32)
  known = np.zeros(x0.shape, bool)
  for i, line in enumerate(lines):
    if not 0 < len(line) <= length:
      raise ValueError(
        f'this model writes 1 to {length} characters, got {len(line)} to '
        f'infill in line {i + 1}'
      )
    ids = vocabulary.encode(line, spec.symbols, blank)
    known[i, : len(line)] = ids < len(spec.symbols)
    x0[i, : len(line)] = np.where(known[i, : len(line)], ids, 0)
    if known[i, : len(line) if spec.sizes else length].all():
      raise ValueError(
        f'{line!r} has nothing to infill: {blank} is what is to be written'
      )
  sizes = [len(line) for line in lines]
  if spec.sizes is None:
    sizes = [length] * len(lines)
  arrays = {'x0': x0, 'known': known, 'size': np.array(sizes, np.int32)}
  return Infills(arrays, lines)


def one_or_lines(text: str | None, file: str | None, what: str) -> list[str]:
  """Returns the text, or the lines of the file.

  Raises:
    FileNotFoundError: There is no such file.
  """
  if file is None:
    return [text or '']
  if not files.local(file).expanduser().exists():
    raise FileNotFoundError(f'there is no file of {what}s {file}')
  return files.read_lines(file) or ['']
