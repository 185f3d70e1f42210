"""One pipeline for every set of images, texts and graphs.

A set is prepared once as array_record files by a TFDS builder, read by index
through `as_data_source`, kept as uint8 arrays when it fits in memory, and
served by Grain. Batch k is a function of (seed, k) alone:

  indices_k = (perm_0, perm_1, ...)[k B : (k + 1) B],  x0 = u / 127.5 - 1,

where perm_e is a permutation of the set that depends on (seed, e). A run is
therefore resumed from its step and nothing else, on any number of hosts.

TensorFlow is never imported here; only preparing an official TFDS set needs
it (`python -m jaxdiff.data prepare tfds:<name>`).
"""

from jaxdiff.data.dataset import (
  Dataset,
  Frequencies,
  encoded,
  frequencies,
  pixels,
)
from jaxdiff.data.loading import load
from jaxdiff.data.pipeline import batches, epoch

__all__ = [
  'Dataset',
  'Frequencies',
  'batches',
  'encoded',
  'epoch',
  'frequencies',
  'load',
  'pixels',
]
