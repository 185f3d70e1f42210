"""References: moments of a data set's features, cached, or published."""

import hashlib
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxdiff import files, parallel
from jaxdiff.data import Dataset
from jaxdiff.data.sets.npz import DAMAGED
from jaxdiff.evaluation import cache, images
from jaxdiff.evaluation.features import Reduced
from jaxdiff.evaluation.frechet import Moments
from jaxdiff.evaluation.spaces import POOL, SPATIAL, FeatureSpace, is_published

MAX_STATISTICS = 1 << 28  # bytes; those of ADM have 67 MB
_FORMAT = 2


class Reference(NamedTuple):
  """The features that samples are measured against."""

  name: str  # of the data set or the file
  sha256: str  # of the pixels, or of the file of published statistics
  num: int | None  # of examples; None for published statistics
  features: Reduced  # moments, or the features [N, D] themselves


def cached(
  dataset: Dataset,
  space: FeatureSpace,
  compute: Callable[[], Mapping[str, Moments]],
  folder: Path,
) -> Reference:
  """Reads the moments of a data set from the cache, or computes them.

  The cache has a file for each set of images, network, weights and resize rule.
  All processes must call; where one lacks the file, all compute.

  Args:
    dataset: Of the images.
    space: Of the features.
    compute: Returns the moments of all features of this space.
    folder: Of the cache.
  """
  # Reading the images is much faster than the network.
  sha256 = images.digest(dataset)
  name = files.json_hash([_FORMAT, sha256, space])
  arrays = cache.load(folder, name)
  if parallel.any_process(arrays is None):
    moments = dict(compute())
    arrays = {f'mean/{f}': x.mean for f, x in moments.items()}
    arrays |= {f'cov/{f}': x.cov for f, x in moments.items()}
    try:
      cache.save(folder, name, arrays)
    except OSError as error:  # a full disk does not cost the work
      print(f'warning: the reference is not kept: {error}', file=sys.stderr)
  num = len(dataset)
  moments = {
    f[5:]: Moments(x, arrays[f'cov/{f[5:]}'], num)
    for f, x in arrays.items()
    if f.startswith('mean/')
  }
  return Reference(images.title(dataset), sha256, num, moments)


def cache_folder(path: str | None) -> Path:
  """Returns the folder of the cache, ~/.cache/jaxdiff/references by default.

  Raises:
    ValueError: The user has no home.
    OSError: It cannot be written to.
  """
  try:
    default = Path.home() / '.cache' / 'jaxdiff' / 'references'
  except RuntimeError as error:
    if path is None:
      raise ValueError(f'{error} Give --cache FOLDER.') from error
  folder = files.as_path(path or default)
  files.check_target(folder, folder=True)
  return folder


def has_statistics(path: str | Path) -> bool:
  """Tells whether a file has the arrays that `read_statistics` reads."""
  try:
    with zipfile.ZipFile(files.regular(path)) as archive:
      return {'mu.npy', 'sigma.npy'} <= set(archive.namelist())
  except (OSError, *DAMAGED):
    return False


def read_statistics(path: str | Path, space: FeatureSpace) -> Reference:
  """Reads published statistics of Inception features, as TTUR and ADM do.

  An .npz with mu [2048] and sigma [2048, 2048]; ADM's files also have mu_s and
  sigma_s of the spatial features. ADM's and TTUR's were made with the resize
  rule 'tf1', which the file does not state.

  Raises:
    ValueError: No such arrays, or samples' features of another space.
  """
  path = files.local(path)
  if not is_published(space):
    raise ValueError(
      f'{path} has statistics of the published Inception features, the '
      f'samples have those of {space.network} with weights {space.weights}: '
      'give the reference images instead'
    )
  names = {POOL: ('mu', 'sigma'), SPATIAL: ('mu_s', 'sigma_s')}
  sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
  try:
    with zipfile.ZipFile(path) as archive:
      if sum(x.file_size for x in archive.infolist()) > MAX_STATISTICS:
        raise ValueError(f'it unpacks to more than {MAX_STATISTICS} bytes')
    with np.load(path) as file:
      moments = {
        feature: Moments(*(file[name].astype(np.float64) for name in pair))
        for feature, pair in names.items()
        if pair[0] in file or feature == POOL
      }
  except (OSError, MemoryError, TypeError, *DAMAGED) as error:
    raise ValueError(
      f'{path} must be an .npz with the arrays mu and sigma: {error}'
    ) from error
  return Reference(path.name, sha256, None, moments)
