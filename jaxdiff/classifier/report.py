"""Reports of a classifier in training: its accuracy on the test split."""

import shlex
from typing import Any

import jax
import numpy as np

from jaxdiff import classifier, data, files
from jaxdiff.config import Config
from jaxdiff.models import Model
from jaxdiff.models.classification import is_right
from jaxdiff.networks.classifier import Classifier
from jaxdiff.runs import examples


class Accuracy:
  """Measures a classifier on the test split, and writes it at the end.

  Args:
    config: of the run.
    model: from `models.classification`.
  """

  def __init__(self, config: Config, model: Model):
    self._config, self._spec = config, model.spec
    self._network = Classifier(model.spec.num_classes, config.network.width)
    test = examples.load(config, config.workdir, 'test', model.spec)
    self._test = test.dataset

  def save(self, params: Any, step: int) -> dict[str, float]:
    """Returns the accuracy for the log."""
    del step
    return {'test_accuracy': measure(self._network, params, self._test)}

  def finish(self, params: Any) -> str:
    """Writes the classifier; returns lines for people."""
    c, workdir = self._config, files.as_path(self._config.workdir)
    accuracy = measure(self._network, params, self._test)
    about = classifier.About(
      c.data.name,
      tuple(self._spec.shape),
      self._spec.num_classes,
      c.network.width,
      c.seed,
      c.training.num_steps,
      accuracy,
      len(self._test),
    )
    sha256 = classifier.save(workdir, params, about)
    return (
      f'accuracy     {100 * accuracy:.2f} % of {len(self._test)} test images\n'
      f'weights      {sha256[:12]}: --features '
      + shlex.quote(f'classifier:{workdir}')
    )


def measure(
  network: Classifier, params: Any, dataset: data.Dataset, size: int = 256
) -> float:
  """Computes the accuracy over all of a labelled data set."""
  right = jax.jit(
    lambda params, x0, label: is_right(
      network.apply({'params': params}, x0).logits, label
    )
  )
  total = 0.0
  for batch in data.epoch(dataset, min(size, len(dataset))):
    label = batch['cond']['label']
    total += float(np.sum(right(params, batch['x0'], label)))
  return total / len(dataset)
