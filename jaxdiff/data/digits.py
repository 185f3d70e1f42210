"""The 1,797 handwritten digits that come with scikit-learn, as a TFDS set.

Scans of 8x8 pixels with intensities i in 0..16, stored as u = round(255 i/16).
Needs neither network nor TensorFlow: PNG bytes are written, since TFDS encodes
arrays with TensorFlow.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository, 1998 (its test part).
"""

import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

NUM_TEST = 300


def split_indices() -> dict[str, np.ndarray]:
  """Which scans, in scikit-learn's order, are the train and the test split.

  The last 300 of one fixed permutation are the test split, the first 1,497
  the train split.
  """
  # A permutation by sorting raw generator output: NumPy promises that stream
  # for ever, and `Generator.permutation` not.
  order = np.argsort(np.random.PCG64(0).random_raw(1797), kind='stable')
  return {'train': order[:-NUM_TEST], 'test': order[-NUM_TEST:]}


class Digits(tfds.core.GeneratorBasedBuilder):
  """Builder of the set 'digits': 8x8x1 images and labels 0..9."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='8x8 scans of handwritten digits, from scikit-learn.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(8, 8, 1), encoding_format='png'),
          'label': tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=('image', 'label'),
      homepage='https://archive.ics.uci.edu/dataset/80',
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    del dl_manager  # Nothing is downloaded.
    return {
      split: self._generate_examples(indices)
      for split, indices in split_indices().items()
    }

  def _generate_examples(
    self, indices: np.ndarray
  ) -> Iterator[tuple[int, dict]]:
    # Imported where used: it takes seconds, and only the first run needs it.
    from sklearn.datasets import load_digits

    digits = load_digits()
    scans = np.round(digits.images * (255 / 16)).astype(np.uint8)
    for key, index in enumerate(indices):
      png = io.BytesIO()
      Image.fromarray(scans[index]).save(png, 'PNG')
      yield (
        key,
        {'image': png.getvalue(), 'label': int(digits.target[index])},
      )
