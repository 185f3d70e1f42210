"""Previews: samples that train.py draws during training and at its end."""

import shlex
from typing import Any

import jax
import numpy as np

from jaxdiff import files, modalities
from jaxdiff.config import Config
from jaxdiff.generation import conditions
from jaxdiff.generation.sampler import (
  check_finite,
  make_sampler,
  traced_options,
)
from jaxdiff.models import Model
from jaxdiff.models.model import Params
from jaxdiff.runs.examples import Examples


def make(config: Config, model: Model, data: Examples) -> Any:
  """Builds the reports of a model in training: its samples, its
  reconstructions, or its accuracy.

  Returns:
    An object with save(params, step), for the loop, and finish(params) -> lines
    for people.
  """
  if model.reconstruct is not None:
    from jaxdiff.generation.reconstructions import Reconstructions

    return Reconstructions(config, model, data)
  if model.process is None:
    from jaxdiff.classifier.report import Accuracy

    return Accuracy(config, model)
  return Previews(config, model, data)


class Previews:
  """Draws samples of a model into WORKDIR/samples.

  Args:
    config: Of the run.
    model: Of the run.
    data: Its training set, whose examples give the conditions.
  """

  def __init__(self, config: Config, model: Model, data: Examples):
    self._config, self._model = config, model
    num = config.sampling.num
    self._index = np.arange(num)
    rows = conditions.of_previews(config, model, data).options(self._index)
    self._options = traced_options(config, **rows, frozen=model.frozen)
    self._draw = jax.jit(make_sampler(model, config.sampling))
    self._modality = modalities.make(model.spec)

  def save(self, params: Params, step: int) -> None:
    """Draws a grid of samples of a step."""
    drawn = self._draw(params, self._options, self._index)
    check_finite(drawn, self._index)
    folder = files.as_path(self._config.workdir) / 'samples'
    path = folder / f'{step:07d}{self._modality.endings[0]}'
    self._modality.gather(self._modality.split(drawn), (), path)

  def finish(self, params: Params) -> str:
    """Draws a few samples from noise to data; returns lines for people."""
    workdir = files.as_path(self._config.workdir)
    sampler = make_sampler(self._model, self._config.sampling, trajectory=True)
    index = np.arange(self._modality.shown)
    path = jax.jit(sampler)(params, self._options, index)
    strip = self._modality.strip(path, workdir / 'denoising')
    folder = workdir / 'samples'
    newest = max(folder.glob(f'*{self._modality.endings[0]}'), default='none')
    return f"""samples      {newest}
denoising    {strip}

more samples: python sample.py {shlex.quote(str(workdir))}{self._advice()}"""

  def _advice(self) -> str:
    """Returns the flags without which sample.py refuses this model."""
    c = self._config.condition
    text = ' --prompt "..."' if c.text else ''
    return text + (' --image SMALL.png' if c.low_res else '')
