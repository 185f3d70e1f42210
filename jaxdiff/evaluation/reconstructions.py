"""rFD: Frechet distance of an autoencoder's reconstructions from the images.

With the published weights of Inception it is rFID.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdiff import data
from jaxdiff.data import Dataset
from jaxdiff.evaluation import measuring
from jaxdiff.evaluation.measuring import Comparison, Machine
from jaxdiff.modalities import pictures
from jaxdiff.models import Model
from jaxdiff.runs import Run, examples

Reconstruct = Callable[[Any, np.ndarray], np.ndarray]


def images_of(
  run: Run, split: str | None = None, num: int | None = None
) -> Dataset:
  """Loads the images of a split of a run's data.

  Args:
    run: Of an autoencoder.
    split: None: the test split, or the training set where there is none.
    num: At most so many, a random subset; None: all.
  """
  config, spec = run.config, run.spec
  if split is None:
    known = examples.load(config, run.workdir, 'train', spec).dataset
    split = 'test' if 'test' in known.splits else 'train'
  dataset = examples.load(config, run.workdir, split, spec).dataset
  return (
    dataset if num is None else data.subset(dataset, min(num, len(dataset)))
  )


def compiled(model: Model, machine: Machine) -> Reconstruct:
  """Builds (params, uint8 [b, H, W, C]) -> the same of reconstructions."""
  run = jax.jit(lambda params, x: model.reconstruct(params, x).images)

  def reconstruct(params: Any, images: np.ndarray) -> np.ndarray:
    missing = -len(images) % machine.batch_size  # always as many: one program
    x = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
    found = []
    for part in np.split(x, len(x) // machine.batch_size):
      shown = run(params, part.astype(np.float32) / 127.5 - 1)
      found.append(pictures.to_uint8(np.asarray(shown)))
    return np.concatenate(found)[: len(images)]

  return reconstruct


def distances(
  comparison: Comparison, run: Reconstruct, params: Any, dataset: Dataset
) -> dict[str, Any]:
  """Measures reconstructions of a data set against it, by the name rFD.

  Args:
    comparison: With the data set, from `measuring.compare_with`.
    run: From `compiled`.
    params: Of the autoencoder.
    dataset: Of images.
  """

  def gather(indices: np.ndarray) -> dict[str, np.ndarray]:
    return {'x0': run(params, dataset.gather(indices)['x0'])}

  reconstructed = dataclasses.replace(dataset, gather=gather)
  fields = {'num_samples': len(dataset)}
  desc = 'reconstructions'
  result = measuring.measure(comparison, reconstructed, fields, desc=desc)
  result['metrics'] = {
    f'r{name}': value
    for name, value in result['metrics'].items()
    if name.startswith(('FD', 'FID', 'sFID'))
  }
  return result
