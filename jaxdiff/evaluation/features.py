"""One pass of a network over images, over all devices, none left out.

Features are what every metric is computed from. They are extracted once, as
float32 [N, D] for each name a network gives, or reduced on the way to moments
(`frechet.accumulate`).

Each process reads its own share of the images on its own devices, without
waiting for the others; at the end `join` or `join_moments` puts the results
together, on every process.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxdiff import parallel
from jaxdiff.evaluation import frechet

Features = dict[str, np.ndarray]  # {name: float32 [N, D]}
FeatureFn = Callable[[Any, Array], Mapping[str, Array]]


def stream(
  feature_fn: FeatureFn,
  params: Any,
  batches: Iterable[np.ndarray],
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
  prepare: Callable[[np.ndarray], np.ndarray] = lambda images: images,
  progress: Callable[[int], Any] = lambda done: None,
) -> Iterator[Features]:
  """Yields the features of each batch, in order.

  The next batch is read while the devices work on the one before.

  Args:
    feature_fn: (params, images [B, ...]) -> {name: [B, D]}; a row must depend
      on its image alone.
    params: of the network. They are arguments, for as constants of the
      compiled program they would be kept twice.
    batches: arrays [b, ...]; any sizes. A small one is filled up with copies
      that are not counted, and all that are no larger share a compilation.
    mesh: of this process's devices, all of them by default.
    mode: 'jit' or 'pmap'.
    prepare: runs on the host, e.g. `resize.Rule.host`.
    progress: told how many more images are done, after each batch.

  Raises:
    ValueError: features are not [B, D], or not finite.
  """
  mesh = mesh or parallel.make_mesh(devices=jax.local_devices())

  def step(params: Any, images: Array, axis_name: str | None = None):
    del axis_name
    result = dict(feature_fn(params, images))
    for name, x in result.items():
      if x.ndim != 2 or len(x) != len(images):
        raise ValueError(
          f'features must be [B, D], got {name!r} of shape {list(x.shape)} '
          f'for {len(images)} images'
        )
    return jax.tree.map(lambda x: x.astype(jnp.float32), result)

  compiled = parallel.compile_step(
    step, mesh, mode=mode, in_axes=(None, 0), out_axes=0
  )
  # Once, not with every batch.
  params = jax.device_put(params, parallel.replicated(mesh))
  done, size, running = 0, mesh.size, None

  def fetch(result: Mapping[str, Array], num: int) -> Features:
    nonlocal done
    features = {name: np.asarray(x)[:num] for name, x in result.items()}
    for name, x in features.items():
      bad = ~np.isfinite(x).all(axis=1)
      if bad.any():
        raise ValueError(
          f'features {name!r} of image {done + int(bad.argmax())} are not '
          'finite: check the weights and the images'
        )
    done += num
    progress(num)
    return features

  for batch in batches:
    images = prepare(batch)
    num = len(images)
    if not num:
      continue
    # One size for all batches, which the devices can share: one compilation.
    size = max(size, -(-num // mesh.size) * mesh.size)
    fill = [(0, size - num)] + [(0, 0)] * (images.ndim - 1)
    result = compiled(params, np.pad(images, fill, mode='edge'))
    if running is not None:
      yield fetch(*running)
    running = (result, num)
  if running is not None:
    yield fetch(*running)


def extract(
  feature_fn: FeatureFn,
  params: Any,
  batches: Iterable[np.ndarray],
  **options: Any,
) -> Features:
  """{name: float32 [N, D]} of all images, in order; arguments as `stream`'s.

  Raises:
    ValueError: there are no images; those of `stream`.
  """
  parts = list(stream(feature_fn, params, batches, **options))
  if not parts:
    raise ValueError('there are no images to take features of')
  return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


def share(num: int) -> tuple[int, int]:
  """(start, stop) of the images that this process reads, of 0 .. num - 1.

  Raises:
    ValueError: fewer images than processes.
  """
  count, index = jax.process_count(), jax.process_index()
  if num < count:
    raise ValueError(f'{num} images cannot be shared by {count} processes')
  return num * index // count, num * (index + 1) // count


def join(features: Features) -> Features:
  """All processes' features, in the order of their shares. All must ask."""
  return {name: _join_rows(features[name]) for name in sorted(features)}


def join_moments(
  moments: Mapping[str, frechet.Moments],
) -> dict[str, frechet.Moments]:
  """The moments over all processes' examples. All must ask."""
  joined = {}
  for name in sorted(moments):
    mean, cov, num = moments[name]
    rows = zip(
      _join_rows(mean[None]),
      _join_rows(cov[None]),
      _join_rows(np.array([num])),
      strict=True,
    )
    parts = [frechet.Moments(m, c, int(n)) for m, c, n in rows]
    joined[name] = parts[0]
    for part in parts[1:]:
      joined[name] = frechet.merge(joined[name], part)
  return joined


def _join_rows(x: np.ndarray) -> np.ndarray:
  """[n, ...] on each process, n >= 1 of any size, to their concatenation."""
  if jax.process_count() == 1:
    return x
  gather = multihost_utils.process_allgather
  nums = gather(np.int32(len(x)))
  # As bytes: jax would make float32 of float64 on the way.
  raw = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
  raw = np.pad(raw, [(0, max(nums) - len(x)), (0, 0)])
  parts = zip(np.asarray(gather(raw)), nums, strict=True)
  rows = np.ascontiguousarray(np.concatenate([p[:n] for p, n in parts]))
  return rows.view(x.dtype).reshape(-1, *x.shape[1:])
