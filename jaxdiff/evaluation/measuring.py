"""Samples against a reference, from their images to the numbers."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdiff import parallel
from jaxdiff.evaluation import (
  blocks,
  extractors,
  features,
  frechet,
  metrics,
  references,
)
from jaxdiff.evaluation.extractors import Extractor
from jaxdiff.evaluation.features import Features
from jaxdiff.evaluation.frechet import Moments
from jaxdiff.evaluation.images import Images
from jaxdiff.evaluation.spaces import LOGITS, FeatureSpace

Reduced = dict[str, np.ndarray | Moments]


class Machine(NamedTuple):
  """How features are computed, which changes no number.

  Attributes:
    mesh: of this process's devices.
    batch_size: images at a time, rounded up to a multiple of the devices.
    mode: 'jit' or 'pmap'.
    quiet: no progress bars.
  """

  mesh: Mesh
  batch_size: int = 64
  mode: str = 'jit'
  quiet: bool = False

  @property
  def size(self) -> int:
    """The batch size that the devices share equally."""
    return -(-self.batch_size // self.mesh.size) * self.mesh.size


class Target(NamedTuple):
  """What samples are measured against.

  name, sha256 and num are those of `references.Reference`; `reduced` has its
  moments, or the features themselves where metrics need them.
  """

  name: str
  sha256: str
  num: int | None
  reduced: Mapping[str, np.ndarray | Moments]


def machine(
  batch_size: int = 64, mode: str = 'jit', quiet: bool = False
) -> Machine:
  """This process's devices.

  Raises:
    ValueError: no images at a time.
  """
  if batch_size < 1:
    raise ValueError(f'--batch-size must be at least 1, got {batch_size}')
  mesh = parallel.make_mesh(devices=jax.local_devices())
  return Machine(mesh, batch_size, mode, quiet)


def target(
  source: Images,
  extractor: Extractor,
  machine: Machine,
  *,
  whole: bool = False,
  directory: str | Path | None = None,
) -> Target:
  """The reference, its moments from the cache where they were kept.

  Args:
    source: its images.
    extractor: of features.
    machine: devices.
    whole: keep the features and not only their moments; they are computed.
    directory: of the caches, see `references.cached`.
  """
  extractors.check(extractor, source)
  arrays: Reduced = {}

  def read() -> Iterator[Features]:
    parts = _share(source, extractor, machine, f'reference {source.name}')
    return ({k: x for k, x in p.items() if k != LOGITS} for p in parts)

  if whole:
    arrays |= reduce(read(), [extractor.feature])
    every = lambda: {
      name: x if isinstance(x, Moments) else frechet.moments(x)
      for name, x in arrays.items()
    }
  else:
    every = lambda: reduce(read(), [])
  found = references.cached(source, extractor.space, every, directory)
  return Target(
    found.name, found.sha256, found.num, {**found.moments, **arrays}
  )


def published(path: str | Path, space: FeatureSpace) -> Target:
  """Statistics of Inception features that others computed."""
  return Target(*references.read_statistics(path, space))


def samples(
  source: Images,
  extractor: Extractor,
  machine: Machine,
  *,
  whole: bool = False,
  directory: Path | None = None,
  what: str = 'samples',
) -> Reduced:
  """The features of samples, reduced as the metrics need them.

  Args:
    source: their images.
    extractor: of features.
    machine: devices.
    whole: keep the features and not only their moments.
    directory: where finished blocks are kept, from `blocks.folder`.
    what: the progress bar says.
  """
  extractors.check(extractor, source)
  keep = [extractor.feature, LOGITS] if whole else [LOGITS]
  parts = _share(source, extractor, machine, what, directory)
  return reduce(parts, keep)


def reduce(parts: Iterable[Features], keep: Collection[str]) -> Reduced:
  """Features of this process's share to those of all: whole, or moments.

  Args:
    parts: features, a batch or a block at a time.
    keep: names of those that are kept whole.

  Raises:
    ValueError: there are none.
  """
  kept: dict[str, list[np.ndarray]] = {}

  def rest() -> Iterator[Features]:
    for part in parts:
      for name in part.keys() & set(keep):
        kept.setdefault(name, []).append(part[name])
      if others := {k: x for k, x in part.items() if k not in keep}:
        yield others

  others = rest()
  first = next(others, None)
  moments = {}
  if first is not None:
    moments = frechet.accumulate(itertools.chain([first], others))
  if not kept and not moments:
    raise ValueError('there are no images to measure')
  whole = {name: np.concatenate(x) for name, x in kept.items()}
  return {**features.join(whole), **features.join_moments(moments)}


def measure(
  extractor: Extractor,
  ours: Reduced,
  theirs: Target,
  *,
  seed: int = 0,
) -> metrics.Result:
  """`metrics.measure` of samples against a reference."""
  sizes = (x.num if isinstance(x, Moments) else len(x) for x in ours.values())
  return metrics.measure(
    extractor.space,
    ours,
    theirs.reduced,
    feature=extractor.feature,
    seed=seed,
    splits=min(10, next(sizes)),
  )


def _share(
  source: Images,
  extractor: Extractor,
  machine: Machine,
  what: str,
  directory: Path | None = None,
) -> Iterator[Features]:
  """Features of this process's share of the images, with a progress bar."""
  start, stop = features.share(source.num)
  quiet = machine.quiet or jax.process_index() > 0
  with tqdm(total=stop - start, desc=what, unit='image', disable=quiet) as bar:
    extract = partial(
      features.stream,
      extractor.feature_fn,
      extractor.params,
      mesh=machine.mesh,
      mode=machine.mode,
      prepare=extractor.rule.host,
      progress=bar.update,
    )
    if directory is None:
      yield from extract(source.batches(machine.size, start, stop))
      return
    yield from blocks.read(
      source,
      start,
      stop,
      extract,
      directory,
      batch_size=machine.size,
      progress=bar.update,
    )
