"""Data: sets of points, images, texts and graphs, and their batches.

A Dataset gives arrays for indices. Batch k of `batches` depends on (seed, k)
alone:

  indices_k = (perm_0, perm_1, ...)[k B : (k + 1) B],  x0 = u / 127.5 - 1,

where perm_e is a permutation of the set that depends on (seed, e), and u are
the pixels of images. So a run is resumed from its step and nothing else, on any
number of hosts.
"""

from jaxdiff.data.dataset import (
  Dataset,
  count_cut,
  encoded,
  pixels,
  spread,
  subset,
)
from jaxdiff.data.loading import load
from jaxdiff.data.marginals import Frequencies, frequencies
from jaxdiff.data.pipeline import batches, epoch

__all__ = [
  'Dataset',
  'Frequencies',
  'batches',
  'count_cut',
  'encoded',
  'epoch',
  'frequencies',
  'load',
  'pixels',
  'spread',
  'subset',
]
