"""What a run does with a prompt."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Prompts(NamedTuple):
  """How a run reads prompts.

  encode: prompts [N] -> {name: [N, ...]}, conditions its network takes.
  count: a prompt -> its tokens with both ends; over `length` it is cut.
  """

  encode: Callable[[Sequence[str]], dict[str, np.ndarray]]
  count: Callable[[str], int]
  length: int
  dims: tuple[int, int]  # of the sequence and of the vector that they become
