"""The four families for a data set, of about equally many parameters."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn

from benchmarks.families import diffusion, flow, gan, vae
from benchmarks.families.family import Family
from benchmarks.families.nets import Decoder, Encoder, Perceptron
from jaxdiff import config as c
from jaxdiff.config import Spec
from jaxdiff.data import Dataset

LEAST = 4  # examples: precision and recall look for 3 neighbours


class Case(NamedTuple):
  """A data set with its families."""

  train: Dataset
  test: Dataset
  families: dict[str, Callable[[], Family]]
  batch_size: int
  bins: int | None  # values of a datum that is dequantised; None: continuous


def points(train: Dataset, test: Dataset) -> Case:
  """Builds perceptrons of about 50,000 parameters in all.

  Raises:
    ValueError: The data are not points in the plane, or too few.
  """
  _check(train, test, '--points', 'points', train.shape == (2,), 'points [2]')
  shape, latent = train.shape, 2
  config = c.Config(
    data=c.Data(name=train.name),
    diffusion=c.Gaussian(schedule='cosine', prediction='v'),
    network=c.MLP(width=80, depth=2),
    sampling=c.Sampling(sampler='ddim', steps=50, threshold='none'),
  )
  net = lambda out, width: Perceptron(out, width)
  families = {
    'GAN': lambda: gan.make(shape, net(2, 110), net(1, 110), latent),
    'VAE': lambda: vae.make(shape, net(4, 110), net(2, 110), latent, True),
    'flow': lambda: flow.make(shape, flow.Flow(width=76, depth=8)),
    'diffusion': lambda: diffusion.make(config, _spec(train)),
  }
  return Case(train, test, families, 256, None)


def images(train: Dataset, test: Dataset) -> Case:
  """Builds convolutional networks of about 270,000 parameters in all.

  The diffusion model is that of configs/fashion_flow.py.

  Raises:
    ValueError: The data are not images of a fitting size, or too few.
  """
  fits = len(train.shape) == 3 and not any(
    side % 4 or side < 8 for side in train.shape[:2]
  )
  wanted = 'images whose side lengths are multiples of 4, at least 8'
  _check(train, test, '--images', 'image', fits, wanted)
  shape, latent = train.shape, 32
  config = dataclasses.replace(
    c.load_file('configs/fashion_flow.py'),
    sampling=c.Sampling(sampler='unipc', steps=20, threshold='none'),
  )
  families = {
    'GAN': lambda: gan.make(
      shape, Decoder(shape, 46), Encoder(1, 30), latent, nn.tanh
    ),
    'VAE': lambda: vae.make(
      shape, Encoder(2 * latent, 22), Decoder(shape, 24), latent, False
    ),
    'flow': lambda: flow.make(shape, flow.Flow(width=112, depth=7, square=4)),
    'diffusion': lambda: diffusion.make(config, _spec(train)),
  }
  return Case(train, test, families, 128, 256)


def _check(
  train: Dataset,
  test: Dataset,
  flag: str,
  modality: str,
  fits: bool,
  wanted: str,
) -> None:
  """Raises ValueError unless both splits have the modality and enough data."""
  if train.modality != modality or not fits:
    raise ValueError(
      f'{flag} must be a data set of {wanted}; {train.name} has modality '
      f'{train.modality} and shape {train.shape}'
    )
  for split in (train, test):
    if len(split) < LEAST:
      raise ValueError(
        f'{flag} needs {LEAST} examples in each split; {split.split} of '
        f'{split.name} has {len(split)}'
      )


def _spec(dataset: Dataset) -> Spec:
  return Spec(dataset.modality, dataset.shape)
