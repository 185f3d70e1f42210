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


class Case(NamedTuple):
  """A data set with its families."""

  train: Dataset
  test: Dataset
  families: dict[str, Callable[[], Family]]
  batch_size: int
  bins: int | None  # values of a datum that is dequantised; None: continuous


def points(train: Dataset, test: Dataset) -> Case:
  """Perceptrons of about 50,000 parameters in all."""
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
  """Convolutional networks of about 270,000 parameters in all.

  The diffusion model is that of configs/fashion_flow.py.
  """
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


def _spec(dataset: Dataset) -> Spec:
  return Spec(dataset.modality, dataset.shape)
