"""Encodings of prompts, the last few thousand kept: data repeat captions."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

CHUNK = 32  # prompts encoded at a time
KEPT = 4096  # prompts whose encodings stay: 1 GB of 77 x 768 floats

Rows = dict[str, np.ndarray]


class Prompts(NamedTuple):
  """The reader of prompts of a run.

  encode: prompts [N] -> {name: [N, ...]}, conditions that its network takes.
  count: a prompt -> its number of tokens with both ends; above `length` it is
    truncated.
  length: the largest number of tokens.
  dims: of the sequence and of the vector that prompts become.
  sha256: of the vocabulary and the weights, if they are in files.
  """

  encode: Callable[[Sequence[str]], dict[str, np.ndarray]]
  count: Callable[[str], int]
  length: int
  dims: tuple[int, int]
  sha256: str = ''


def kept(
  read: Callable[[list[str]], Rows],
) -> Callable[[Sequence[str]], Rows]:
  """Builds prompts [N] -> {name: [N, ...]}.

  Args:
    read: At most `CHUNK` prompts to rows, of which those beyond are left out.
  """
  found: OrderedDict[str, Rows] = OrderedDict()
  lock = threading.Lock()  # sets are read by several threads

  def encode(prompts: Sequence[str]) -> Rows:
    with lock:
      new = [p for p in dict.fromkeys(prompts) if p not in found]
      for start in range(0, len(new), CHUNK):
        part = new[start : start + CHUNK]
        rows = read(part)
        for i, prompt in enumerate(part):
          found[prompt] = {name: x[i] for name, x in rows.items()}
      rows = [found[p] for p in prompts]
      for prompt in prompts:
        found.move_to_end(prompt)
      while len(found) > KEPT:
        found.popitem(last=False)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

  return encode
