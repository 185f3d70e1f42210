"""Reconstructions of an autoencoder: pictures, PSNR, SSIM, used codes."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import data, files, image_quality
from jaxdiff.config import Config
from jaxdiff.losses import DISCRIMINATOR
from jaxdiff.modalities import pictures
from jaxdiff.models import Model, autoencoder
from jaxdiff.models.model import Params
from jaxdiff.networks import codebook
from jaxdiff.pretrained.autoencoder_weights import (
  load_autoencoder,
  save_autoencoder,
)
from jaxdiff.runs import examples
from jaxdiff.runs.examples import Examples

NUM, BATCH = 1024, 64  # images that are measured, and at a time


class Reconstructions:
  """Measures an autoencoder on the test split, and writes it at the end.

  Args:
    config: of the run.
    model: from `models.autoencoder`.
    found: its training set, whose images serve where there is no test split.
  """

  def __init__(self, config: Config, model: Model, found: Examples):
    self._config, self._model = config, model
    dataset = found.dataset
    if 'test' in dataset.splits:
      test = examples.load(config, config.workdir, 'test', found.spec)
      dataset = test.dataset
    self._dataset = data.subset(dataset, min(NUM, len(dataset)))
    self._run = compiled(model)

  def save(self, params: Params, step: int) -> dict[str, float]:
    """Draws images above their reconstructions, and returns their quality."""
    folder = files.as_path(self._config.workdir)
    path = folder / 'samples' / f'{step:07d}.png'
    values = measure(self._run, params, self._dataset, self._config, path)
    about = {'split': self._dataset.split, 'num': len(self._dataset), **values}
    files.write_json(folder / 'evaluation' / f'{step:07d}.json', about)
    return values

  def finish(self, params: Params) -> str:
    """Writes the autoencoder; returns lines for people."""
    workdir = files.as_path(self._config.workdir)
    network = autoencoder.make_network(self._config, self._model.spec)
    folder = workdir / 'autoencoder'
    own = {name: x for name, x in params.items() if name != DISCRIMINATOR}
    save_autoencoder(folder, network, own)
    sha256 = load_autoencoder(folder).sha256
    newest = max((workdir / 'samples').glob('*.png'), default='none')
    shape = self._model.spec.shape
    sides = [n // network.factor for n in shape[:2]]
    size = 'x'.join(map(str, [*sides, network.latent_channels]))
    return (
      f'samples      {newest}, images above reconstructions\n'
      f'autoencoder  {folder}, {sha256[:12]}, latents {size}\n\n'
      f'a model of latents: --latent.autoencoder {shlex.quote(str(workdir))}'
    )


def compiled(model: Model) -> Callable[..., tuple[Any, ...]]:
  """Builds (params, x) -> reconstructions, indices or None, PSNR, SSIM."""

  @jax.jit
  def run(params: Params, x: jax.Array) -> tuple[Any, ...]:
    images, indices = model.reconstruct(params, x)
    images = jnp.clip(images, -1, 1)
    quality = image_quality.psnr(x, images), image_quality.ssim(x, images)
    return images, indices, *quality

  return run


def measure(
  run: Callable[..., tuple[Any, ...]],
  params: Params,
  dataset: data.Dataset,
  config: Config,
  path: Path,
) -> dict[str, float]:
  """Measures reconstructions of a data set, and draws some of them.

  Args:
    run: from `compiled`.
    params: of the autoencoder.
    dataset: of images.
    config: of the run; `sampling.num` images are drawn.
    path: of the PNG.

  Returns:
    'psnr' and 'ssim', means over images; of a codebook 'codes_used', a fraction
    of the codes, and the 'perplexity' of their frequencies.
  """
  shown, psnr, ssim, counts = [], [], [], 0
  num = config.sampling.num
  for batch in data.epoch(dataset, min(BATCH, len(dataset))):
    x = batch['x0']
    images, indices, *quality = run(params, x)
    if sum(map(len, shown)) < num:
      shown.append(np.stack([x, images], axis=1))
    psnr.append(quality[0])
    ssim.append(quality[1])
    if indices is not None:
      codes = config.network.num_codes
      counts += np.bincount(np.ravel(indices), minlength=codes)
  measured = {'psnr': np.concatenate(psnr), 'ssim': np.concatenate(ssim)}
  values = {name: float(np.mean(x)) for name, x in measured.items()}
  if np.ndim(counts):
    usage = codebook.usage_of_counts(jnp.asarray(counts))
    values |= {'codes_used': float(usage.fraction)}
    values |= {'perplexity': float(usage.perplexity)}
  pictures.save_png(pairs(np.concatenate(shown)[:num]), path)
  return values


def pairs(images: np.ndarray, columns: int = 16) -> np.ndarray:
  """Tiles pairs of images, each above its reconstruction.

  Args:
    images: [N, 2, H, W, C] in [-1, 1].
    columns: pairs in a row.

  Returns:
    uint8 [H', W', C].
  """
  columns = min(columns, len(images))
  num = len(images) // columns * columns
  rows = images[:num].reshape(-1, columns, *images.shape[1:]).swapaxes(1, 2)
  flat = rows.reshape(-1, *images.shape[2:])
  return pictures.grid(pictures.to_uint8(flat), columns)
