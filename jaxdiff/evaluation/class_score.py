"""How sure a classifier is of each image, and how different its answers are.

  exp E_x KL(p(y | x) || p(y)),    p(y) = E_x p(y | x),

from 1 (every image the same answer) to the number of classes. It needs no
reference and does not notice memorised images. The "Inception Score" when the
logits are those of the published Inception network.
"""

from typing import NamedTuple

import numpy as np

from jaxdiff.data.shuffling import permutation


class ClassScore(NamedTuple):
  """The mean over splits, and their standard deviation (ddof 0, as printed
  everywhere; it is not a standard error of the mean)."""

  value: float
  std: float
  splits: int


def class_score(
  logits: np.ndarray, *, splits: int = 10, seed: int | None = 0
) -> ClassScore:
  """The score of each split of the images, averaged.

  A split's score is biased down, the more the smaller it is: 10 splits of
  5,000 are what papers report.

  Args:
    logits: [N, K].
    splits: N / splits images each; the last may have more.
    seed: of a permutation before splitting, without which images sorted by
      class would have a low score; None keeps the order (ADM, and the first
      implementation).

  Raises:
    ValueError: fewer images than splits.

  Source: Salimans et al. 2016, "Improved techniques for training GANs".
  """
  num = len(logits)
  if not 1 <= splits <= num:
    raise ValueError(f'splits must be from 1 to {num} images, got {splits}')
  if seed is not None:
    logits = logits[permutation(num, seed)]
  scores = [
    _score(logits[i * num // splits : (i + 1) * num // splits])
    for i in range(splits)
  ]
  return ClassScore(float(np.mean(scores)), float(np.std(scores)), splits)


def _score(logits: np.ndarray) -> float:
  logits = logits.astype(np.float64)
  logits -= logits.max(axis=1, keepdims=True)
  log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  p = np.exp(log_p)
  mean = p.mean(axis=0)
  # A class that no image has any of: p = 0 there, and 0 log 0 = 0.
  log_mean = np.log(mean, where=mean > 0, out=np.zeros_like(mean))
  return np.exp((p * (log_p - log_mean)).sum(axis=1).mean())
