"""Digits: the 1,797 handwritten digits of scikit-learn, 8x8x1, labels 0..9.

Pixels are scans with intensities i in 0..16, stored as u = round(255 i / 16).
The splits are 'train' (1,497) and 'test' (300), by one fixed permutation.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository, 1998 (its test part).
"""

import numpy as np
from PIL import Image

from jaxdiff.data.dataset import Dataset, check_split, in_memory
from jaxdiff.data.images import to_pixels
from jaxdiff.data.shuffling import permutation

NUM_TEST = 300


def load(split: str, image_size: int | None = None) -> Dataset:
  """Loads the digits, resized to `image_size` if it is given."""
  check_split(split, ('train', 'test'))
  from sklearn.datasets import load_digits  # Takes a second.

  digits = load_digits()
  order = permutation(len(digits.target), seed=0)
  chosen = order[:-NUM_TEST] if split == 'train' else order[-NUM_TEST:]
  scans = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)
  x0 = np.stack([to_pixels(Image.fromarray(i), 1, image_size) for i in scans])
  label = digits.target[chosen].astype(np.int32)
  arrays, splits = {'x0': x0, 'label': label}, ('train', 'test')
  return in_memory('digits', split, 'image', arrays, 10, splits=splits)
