"""Networks that are timed: those of our configurations and, for a GPU, of ADM
and DiT; for each the arguments that make one of equal size of diffusers'
`UNet2DModel` or `DiTTransformer2DModel`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from jaxdiff.config import Config, DiT, Spec, UNet, load_file


class Case(NamedTuple):
  """A network, the data it is for, and its peers."""

  config: Config
  spec: Spec
  diffusers: Mapping[str, Any]  # of UNet2DModel, or DiTTransformer2DModel
  lucidrains: Mapping[str, Any] | None = None  # of its Unet

  @property
  def shape(self) -> tuple[int, int, int]:
    """H, W, C of an image."""
    return self.spec.shape


def _digits() -> Case:
  return Case(
    load_file('configs/digits.py'),
    Spec('image', (8, 8, 1)),
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
  network = UNet(
    channels=32,
    channel_mults=(1, 2, 2),
    num_res_blocks=2,
    attention_resolutions=(7,),
  )
  return Case(
    _with_network('configs/fashion_mnist.py', network),
    Spec('image', (28, 28, 1)),
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
    Spec('image', (32, 32, 3)),
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


def _adm256() -> Case:
  """Pixels of 256x256, without classes and learned variances.

  The peer has 1.8 % fewer parameters.

  Source: Dhariwal and Nichol 2021, appendix I.
  """
  network = UNet(
    channels=256,
    channel_mults=(1, 1, 2, 2, 4, 4),
    num_res_blocks=2,
    attention_resolutions=(32, 16, 8),
    head_channels=64,
    scale_shift_norm=True,
    resblock_updown=True,
  )
  attends = (False, False, False, True, True, True)
  kind = lambda way, attention: f'{"Attn" if attention else ""}{way}Block2D'
  return Case(
    _with_network('configs/ddpm_cifar10.py', network),
    Spec('image', (256, 256, 3)),
    dict(
      block_out_channels=(256, 256, 512, 512, 1024, 1024),
      layers_per_block=2,
      down_block_types=tuple(kind('Down', on) for on in attends),
      up_block_types=tuple(kind('Up', on) for on in reversed(attends)),
      attention_head_dim=64,
      downsample_type='resnet',
      upsample_type='resnet',
      resnet_time_scale_shift='scale_shift',
    ),
  )


def _dit_xl() -> Case:
  """DiT-XL/2 on latents of 256x256 images, without classes.

  The peer embeds time in every block anew: 6 % more parameters, no more work.

  Source: Peebles and Xie 2023, table 1.
  """
  network = DiT(patch_size=2, width=1152, depth=28, num_heads=16)
  return Case(
    _with_network('configs/ddpm_cifar10.py', network),
    Spec('image', (32, 32, 4)),
    dict(
      num_attention_heads=16,
      attention_head_dim=72,
      num_layers=28,
      patch_size=2,
      in_channels=4,
      sample_size=32,
      num_embeds_ada_norm=1,
    ),
  )


def _with_network(path: str, network: UNet | DiT) -> Config:
  return dataclasses.replace(load_file(path), network=network)


CASES = {
  'digits': _digits,
  'small': _small,
  'cifar10': _cifar10,
  'adm256': _adm256,
  'dit_xl': _dit_xl,
}
Name = Literal['digits', 'small', 'cifar10', 'adm256', 'dit_xl']
