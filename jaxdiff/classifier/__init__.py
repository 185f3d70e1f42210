"""Classifiers whose features measure samples: `--features classifier:WORKDIR`.

They serve where the published networks are not at hand or say little, as for
8x8 scans. Such a distance is never FID, and is not called so. The classifier
has seen the train split: part of the distance between test and train, the
floor, is what it has memorised.

  python -m jaxdiff.classifier train digits

  WORKDIR/classifier.safetensors   the weights
  WORKDIR/classifier.json          their SHA-256, the data set, the accuracy
"""

from jaxdiff.models.classifier_files import About, Trained, load, save

__all__ = ['About', 'Trained', 'load', 'save']
