"""What samples are measured against: moments of a reference set's features.

They are computed once for every set of images, network, weights and resize
rule, and kept under a name made from all of these. So a cache cannot be that
of another set, and one that was changed or cut short is refused.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdiff import parallel
from jaxdiff.evaluation import images as images_lib
from jaxdiff.evaluation.frechet import Moments
from jaxdiff.evaluation.images import Images
from jaxdiff.evaluation.spaces import POOL, SPATIAL, FeatureSpace, is_published

_FORMAT = 1

# What NumPy and zipfile raise for a file that is cut short or changed.
_UNREADABLE = (
  EOFError,
  KeyError,
  NotImplementedError,
  OSError,
  RuntimeError,
  ValueError,
  zipfile.BadZipFile,
  zlib.error,
)


class Reference(NamedTuple):
  """Moments {feature: Moments} of the `num` examples called `name`.

  sha256 is that of the pixels (`images.digest`), or of the file for published
  statistics, whose `num` may not be known.
  """

  name: str
  sha256: str
  num: int | None
  moments: dict[str, Moments]


def default_directory() -> Path:
  """~/.cache/jaxdiff/references."""
  return Path.home() / '.cache' / 'jaxdiff' / 'references'


def cached(
  images: Images,
  space: FeatureSpace,
  compute: Callable[[], Mapping[str, Moments]],
  directory: str | os.PathLike[str] | None = None,
) -> Reference:
  """The reference from its cache, or computed and kept.

  The images are read once for their hash, many times faster than a network.
  With several processes all must ask; any that lacks the file makes all
  compute.

  Args:
    images: of the reference.
    space: of the features.
    compute: {feature: Moments} of these very images, for all features that
      anyone will ask of this space; called if needed.
    directory: of the caches; `default_directory` by default.

  Raises:
    ValueError: the cache is damaged.
  """
  directory = Path(directory or default_directory())
  sha256 = images_lib.digest(images)
  path = directory / file_name(sha256, space)
  if not parallel.any_process(not path.exists()):
    return load(path, sha256, space)._replace(name=images.name)
  reference = Reference(images.name, sha256, images.num, dict(compute()))
  save(path, reference, space)
  return reference


def file_name(sha256: str, space: FeatureSpace) -> str:
  """Of the cache for images of this hash in this space."""
  key = json.dumps([_FORMAT, sha256, space._asdict()], sort_keys=True)
  return hashlib.sha256(key.encode()).hexdigest()[:32] + '.npz'


def save(
  path: str | os.PathLike[str], reference: Reference, space: FeatureSpace
) -> None:
  """Writes a reference, whole or not at all."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  arrays = {}
  for feature, (mean, cov, num) in reference.moments.items():
    if num != reference.num:
      raise ValueError(
        f'moments of {feature!r} are of {num} examples, the reference has '
        f'{reference.num}'
      )
    arrays |= {f'mean/{feature}': mean, f'cov/{feature}': cov}
  header = {
    'format': _FORMAT,
    'name': reference.name,
    'images_sha256': reference.sha256,
    'num': reference.num,
    'space': space._asdict(),
    'arrays_sha256': _digest(arrays),
  }
  # Processes of several hosts may have the same number.
  unique = f'{jax.process_index()}.{os.getpid()}'
  temporary = path.with_name(f'.{path.stem}.{unique}.npz')
  with open(temporary, 'wb') as file:
    np.savez(file, header=np.array(json.dumps(header)), **arrays)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)


def load(
  path: str | os.PathLike[str], sha256: str, space: FeatureSpace
) -> Reference:
  """Reads what `save` wrote.

  Args:
    path: of the file.
    sha256: of the images it must be of.
    space: of the features it must be of.

  Raises:
    ValueError: it is damaged, or of other images or another space.
  """
  try:
    with np.load(path) as file:
      arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays.pop('header')))
    intact = header['arrays_sha256'] == _digest(arrays)
  except FileNotFoundError:
    raise
  except _UNREADABLE as error:
    raise ValueError(
      f'the cached reference {path} is damaged ({error}): delete it, and it '
      'is computed again'
    ) from error
  if not intact:
    raise ValueError(
      f'the cached reference {path} is not what was written: delete it, and '
      'it is computed again'
    )
  wanted = {
    'format': _FORMAT,
    'images_sha256': sha256,
    'space': space._asdict(),
  }
  differ = [
    f'{key}: {header.get(key)!r} there, {value!r} asked for'
    for key, value in wanted.items()
    if header.get(key) != value
  ]
  if differ:
    raise ValueError(
      f'the cached reference {path} is another one ({"; ".join(differ)})'
    )
  num = header['num']
  features = [name[5:] for name in arrays if name.startswith('mean/')]
  moments = {
    f: Moments(arrays[f'mean/{f}'], arrays[f'cov/{f}'], num) for f in features
  }
  return Reference(header['name'], sha256, num, moments)


def has_statistics(path: str | os.PathLike[str]) -> bool:
  """Whether an .npz has the arrays that `read_statistics` reads."""
  if not zipfile.is_zipfile(path):
    return False
  with zipfile.ZipFile(path) as archive:
    return {'mu.npy', 'sigma.npy'} <= set(archive.namelist())


def read_statistics(
  path: str | os.PathLike[str], space: FeatureSpace
) -> Reference:
  """Published statistics of Inception features, as TTUR and ADM keep them.

  An .npz with mu [2048] and sigma [2048, 2048], in ADM's files also mu_s and
  sigma_s of the spatial features. They are of the published weights; ADM's and
  TTUR's were made with the resize rule 'tf1', which the file does not say.

  Args:
    path: of the file.
    space: of the samples' features.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it has no such arrays, or the samples' features are not those
      of the published weights.
  """
  path = Path(path)
  if not is_published(space):
    raise ValueError(
      f'{path} has statistics of the published Inception features, the '
      f'samples have those of {space.network} with weights {space.weights}: '
      'give the reference images instead'
    )
  names = {POOL: ('mu', 'sigma'), SPATIAL: ('mu_s', 'sigma_s')}
  try:
    with open(path, 'rb') as file:
      sha256 = hashlib.file_digest(file, 'sha256').hexdigest()
    with np.load(path) as file:
      moments = {
        feature: Moments(
          file[mu].astype(np.float64), file[sigma].astype(np.float64)
        )
        for feature, (mu, sigma) in names.items()
        if mu in file or feature == POOL
      }
  except FileNotFoundError:
    raise
  except _UNREADABLE as error:
    raise ValueError(
      f'{path} must be an .npz with the arrays mu and sigma: {error}'
    ) from error
  return Reference(path.name, sha256, None, moments)


def _digest(arrays: Mapping[str, Any]) -> str:
  sha256 = hashlib.sha256()
  for name in sorted(arrays):
    x = np.ascontiguousarray(arrays[name])
    sha256.update(f'{name} {x.dtype} {x.shape}'.encode())
    sha256.update(x)
  return sha256.hexdigest()
