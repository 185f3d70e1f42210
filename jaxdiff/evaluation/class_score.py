"""Class score, the formula of the Inception Score.

  exp E_x KL(p(y | x) || p(y)),    p(y) = E_x p(y | x)

It ranges from 1 (the same prediction for every image) to the number of classes,
needs no reference, and does not notice memorised images. It is called the
Inception Score for the logits of the published Inception.
"""

from typing import NamedTuple

import numpy as np

from jaxdiff.data.shuffling import permutation


class ClassScore(NamedTuple):
  """Mean and standard deviation (ddof 0, as others print) over splits."""

  value: float
  std: float
  splits: int


def class_score(
  logits: np.ndarray, *, splits: int = 10, seed: int | None = 0
) -> ClassScore:
  """Computes the mean score over splits of the images.

  A split's score is biased down, the more the smaller the split. Papers report
  10 splits of 5,000.

  Args:
    logits: [N, K].
    splits: Of N / splits images; some have one more.
    seed: Of a permutation before splitting, without which images sorted by
      class would have a low score. None keeps the order, as others do.

  Source: Salimans et al. 2016, "Improved techniques for training GANs".
  """
  num = len(logits)
  if not 1 <= splits <= num:
    raise ValueError(f'splits must be from 1 to {num} images, got {splits}')
  if seed is not None:
    logits = logits[permutation(num, seed)]
  ends = [i * num // splits for i in range(splits + 1)]
  scores = [_score(logits[i:j]) for i, j in zip(ends, ends[1:], strict=False)]
  return ClassScore(float(np.mean(scores)), float(np.std(scores)), splits)


def _score(logits: np.ndarray) -> float:
  logits = logits.astype(np.float64)
  logits -= logits.max(axis=1, keepdims=True)
  log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  p = np.exp(log_p)
  mean = p.mean(axis=0)
  # A class of probability 0 in every image contributes 0 log 0 = 0.
  log_mean = np.log(mean, where=mean > 0, out=np.zeros_like(mean))
  return np.exp((p * (log_p - log_mean)).sum(axis=1).mean())
