"""The networks that are timed: those of our configurations, and for each the
arguments that make one of equal size of diffusers' `UNet2DModel`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxdiff.config import Config, Spec, UNet, load_file


class Case(NamedTuple):
  """A network, the data it is for, and its peers."""

  config: Config
  spec: Spec
  diffusers: Mapping[str, Any] | None  # of UNet2DModel
  lucidrains: Mapping[str, Any] | None = None  # of its Unet

  @property
  def shape(self) -> tuple[int, int, int]:
    """H, W, C of an image."""
    return self.spec.shape


def _digits() -> Case:
  return Case(
    load_file('configs/digits.py'),
    Spec((8, 8, 1)),
    dict(
      block_out_channels=(32, 64),
      layers_per_block=1,
      down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
      up_block_types=('AttnUpBlock2D', 'UpBlock2D'),
      norm_num_groups=8,
    ),
  )


def _small() -> Case:
  """28x28 images, every pixel a position."""
  config = load_file('configs/fashion_mnist.py')
  unet = UNet(
    channels=32,
    channel_mults=(1, 2, 2),
    num_res_blocks=2,
    attention_resolutions=(7,),
  )
  network = dataclasses.replace(config.network, unet=unet)
  return Case(
    dataclasses.replace(config, network=network),
    Spec((28, 28, 1)),
    dict(
      block_out_channels=(32, 64, 64),
      layers_per_block=2,
      down_block_types=('DownBlock2D', 'DownBlock2D', 'AttnDownBlock2D'),
      up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D'),
      norm_num_groups=8,
    ),
    dict(dim=24, dim_mults=(1, 2, 4), channels=1, attn_dim_head=48),
  )


def _cifar10() -> Case:
  return Case(
    load_file('configs/ddpm_cifar10.py'),
    Spec((32, 32, 3)),
    dict(
      block_out_channels=(128, 256, 256, 256),
      layers_per_block=2,
      down_block_types=(
        'DownBlock2D',
        'AttnDownBlock2D',
        'DownBlock2D',
        'DownBlock2D',
      ),
      up_block_types=(
        'UpBlock2D',
        'UpBlock2D',
        'AttnUpBlock2D',
        'UpBlock2D',
      ),
      attention_head_dim=256,
      dropout=0.1,
    ),
    dict(dim=64, dim_mults=(1, 2, 4, 8), channels=3),
  )


CASES = {'digits': _digits, 'small': _small, 'cifar10': _cifar10}
