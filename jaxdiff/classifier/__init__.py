"""A classifier of a labelled set: `python -m jaxdiff.classifier train digits`.

Its features measure samples where the published networks are not at hand or
say little, as of 8x8 scans (`--features classifier:WORKDIR` of
`jaxdiff.evaluation`). Such a distance is never FID, and is not called so. The
classifier has seen the train split: part of the distance of test from train,
the floor, is what it has learned by heart.

  WORKDIR/classifier.safetensors   the weights
  WORKDIR/classifier.json          their SHA-256, what they were trained on,
                                   and how often they are right
"""

from jaxdiff.classifier.files import About, Trained, check_free, load, save
from jaxdiff.classifier.fitting import accuracy, check_labels, fit, make_loss

__all__ = [
  'About',
  'Trained',
  'accuracy',
  'check_free',
  'check_labels',
  'fit',
  'load',
  'make_loss',
  'save',
]
