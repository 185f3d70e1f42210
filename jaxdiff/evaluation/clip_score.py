"""CLIP score: cosine of image and caption, each embedded by CLIP."""

from typing import NamedTuple

import numpy as np


class ClipScore(NamedTuple):
  """Score from 0 to 100, and its standard error over pairs."""

  value: float
  standard_error: float


def clip_score(images: np.ndarray, texts: np.ndarray) -> ClipScore:
  """Computes max(100 mean cos(image, text), 0), as torchmetrics defines it.

  The paper's is 2.5 max(cos, 0) for each pair. Scores of different networks do
  not compare: name the network beside the score.

  Args:
    images: [N, D] embeddings of any length but 0.
    texts: [N, D], row i the caption of image i.

  Source: Hessel et al. 2021, "CLIPScore".
  """
  if images.shape != texts.shape or not len(images):
    raise ValueError(
      'there must be one text embedding [D] for each image embedding [D], got '
      f'{list(images.shape)} and {list(texts.shape)}'
    )
  images, texts = images.astype(np.float64), texts.astype(np.float64)
  length = np.linalg.norm(images, axis=1) * np.linalg.norm(texts, axis=1)
  if not length.all():
    raise ValueError('an embedding has length 0, so its cosine is undefined')
  cosines = 100 * np.sum(images * texts, axis=1) / length
  num = len(cosines)
  error = cosines.std(ddof=1) / np.sqrt(num) if num > 1 else np.nan
  return ClipScore(max(float(cosines.mean()), 0.0), float(error))
