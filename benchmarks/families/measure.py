"""Metrics of samples: distance, precision, recall, seconds, likelihood."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from benchmarks.families.cases import Case
from benchmarks.families.family import Family, Params
from jaxdiff import likelihood
from jaxdiff.data import Dataset, subset
from jaxdiff.data.dataset import in_memory
from jaxdiff.evaluation import extractors, frechet, measuring, metrics
from jaxdiff.evaluation.flags import Running
from jaxdiff.evaluation.precision_recall import precision_recall
from jaxdiff.modalities import pictures

BATCH = 100
TESTED = 200  # examples of the likelihood
Scores = Callable[[np.ndarray], dict[str, float]]


def whole(dataset: Dataset, num: int | None = None) -> np.ndarray:
  """Gathers all examples, or a fixed random subset of `num`."""
  if num is not None:
    dataset = subset(dataset, min(num, len(dataset)))
  return dataset.gather(np.arange(len(dataset)))['x0']


def distance_of_points(case: Case, num: int) -> Scores:
  """Builds x [N, 2] -> 2-Wasserstein distance, precision and recall.

  All three compare samples with the test set.
  """
  test = whole(case.test, num)

  def scores(x: np.ndarray) -> dict[str, float]:
    squared = cdist(x, test, 'sqeuclidean')
    matched = squared[linear_sum_assignment(squared)].mean()
    found = precision_recall(x, test)
    return {'distance': matched**0.5, **found._asdict()}

  return scores


def distance_of_images(
  case: Case, num: int, network: extractors.Extractor
) -> Scores:
  """Builds x [N, H, W, C] -> Frechet distance, precision and recall.

  All three are of features of the network. The distance is to the training set.
  Precision and recall compare with the test set.
  """
  machine = measuring.machine(Running())
  extract = lambda images, keep: measuring.extract(
    images, network, machine, keep
  )
  name = network.feature
  train = metrics.moments(extract(case.train, [])[name])
  test = extract(subset(case.test, min(num, len(case.test))), [name])[name]

  def scores(x: np.ndarray) -> dict[str, float]:
    arrays = {'x0': pictures.to_uint8(x)}
    samples = in_memory('samples', 'all', 'image', arrays)
    found = extract(samples, [name])[name]
    distance = frechet.distance(frechet.moments(found), train)
    return {'distance': distance, **precision_recall(found, test)._asdict()}

  return scores


def draw(
  family: Family, params: Params, num: int, seeds: tuple[int, ...]
) -> tuple[list[np.ndarray], float]:
  """Draws `num` samples for each seed; also returns the CPU seconds of one."""

  @jax.jit
  def batch(params: Params, seed: jax.Array, first: jax.Array) -> jax.Array:
    fold = lambda i: jax.random.fold_in(jax.random.key(seed), i)
    return family.sample(params, jax.vmap(fold)(first + jnp.arange(BATCH)))

  jax.block_until_ready(batch(params, 0, 0))
  began = time.process_time()
  drawn = [
    np.concatenate([batch(params, s, i) for i in range(0, num, BATCH)])[:num]
    for s in seeds
  ]
  rounds = -(-num // BATCH) * len(seeds)
  return drawn, (time.process_time() - began) / (rounds * BATCH)


def bits(case: Case, family: Family, params: Params) -> dict[str, Any]:
  """Computes the mean likelihood of test examples, with its standard error.

  In bits/dim for images, in nats for points.
  """
  x = jnp.asarray(whole(case.test, TESTED))
  keys = jax.random.split(jax.random.key(0), len(x))
  if case.bins:
    x = x / 127.5 - 1.0
    x = jax.vmap(likelihood.dequantize)(keys, x)
  nats = jax.jit(family.nats)
  parts = [
    nats(params, keys[i : i + BATCH], x[i : i + BATCH])
    for i in range(0, len(x), BATCH)
  ]
  values = np.concatenate(parts)
  if case.bins:
    values = likelihood.bits_per_dim(-values, x[0].size, case.bins)
  error = np.std(values, ddof=1) / len(values) ** 0.5
  return {'bits': float(np.mean(values)), 'bits_error': float(error)}
