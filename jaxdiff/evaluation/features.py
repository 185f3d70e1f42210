"""Features of images, by one pass of a network: whole, or as moments."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxdiff.evaluation import frechet
from jaxdiff.evaluation.frechet import Moments
from jaxdiff.parallel.batches import join, over_batches

Features = dict[str, np.ndarray]  # {name: float32 [N, D]}
Reduced = dict[str, np.ndarray | Moments]
FeatureFn = Callable[[Any, Array], Mapping[str, Array]]


def extraction(
  feature_fn: FeatureFn,
  params: Any,
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
  prepare: Callable[[np.ndarray], np.ndarray] = lambda images: images,
  progress: Callable[[int], Any] = lambda done: None,
) -> Callable[[Iterable[np.ndarray]], Iterator[Features]]:
  """Builds batches of images [b, ...] -> their features, compiled once.

  Args:
    feature_fn: (params, images [B, ...]) -> {name: [B, D]}, each image alone.
    params: Of the network.
    mesh, mode: As in `parallel.batches.over_batches`.
    prepare: Runs on the host, such as `resize.Rule.host`.
    progress: Called with the number of further images, after each batch.

  Raises:
    ValueError: Features that are not [B, D], or not finite.
  """

  def step(params: Any, images: Array, axis_name: str | None = None) -> Any:
    del axis_name  # a row depends on its image alone
    found = dict(feature_fn(params, images))
    num = len(jax.tree.leaves(images)[0])
    for name, x in found.items():
      if x.ndim != 2 or len(x) != num:
        raise ValueError(
          f'features must be [B, D], got {name!r} of shape {list(x.shape)} '
          f'for {num} images'
        )
    return jax.tree.map(lambda x: x.astype(jnp.float32), found)

  run = over_batches(step, params, mesh=mesh, mode=mode)

  def extract(batches: Iterable[np.ndarray]) -> Iterator[Features]:
    for part in run(map(prepare, batches)):
      for name, x in part.items():
        if not np.isfinite(x).all():
          raise ValueError(
            f'features {name!r} are not finite: check the weights'
          )
      progress(len(x))
      yield part

  return extract


def concatenate(parts: Iterable[Features]) -> Features:
  """Joins parts along their rows."""
  parts = list(parts)
  if not parts:
    raise ValueError('there are no examples to evaluate')
  return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


def reduce(parts: Iterable[Features], keep: Collection[str]) -> Reduced:
  """Reduces features of all processes to moments, except for those to keep.

  All processes must call, each with the parts of its images.
  """
  kept = defaultdict(list)

  def others() -> Iterator[Features]:
    for part in parts:
      for name in part.keys() & set(keep):
        kept[name].append(part[name])
      yield {name: x for name, x in part.items() if name not in keep}

  moments = frechet.accumulate(others())
  whole = {k: join(np.concatenate(kept[k])) for k in sorted(kept)}
  return {**whole, **{k: join_moments(moments[k]) for k in sorted(moments)}}


def join_moments(moments: Moments) -> Moments:
  """Computes the moments over all processes; all of them must call."""
  rows = (join(np.asarray(x)[None]) for x in moments)
  parts = [Moments(m, c, int(n)) for m, c, n in zip(*rows, strict=True)]
  total = parts[0]
  for part in parts[1:]:
    total = frechet.merge(total, part)
  return total
