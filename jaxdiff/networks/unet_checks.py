"""Checks of the settings of a U-Net, and of the image that it is given."""

from flax import linen as nn
from jax import Array

from jaxdiff.networks import checks


def check(net: nn.Module, xt: Array, t: Array) -> None:
  """Raises ValueError for settings out of range, or that do not fit the image.

  Args:
    net: a `UNet`.
    xt: its image [B, H, W, C].
    t: its times [B].
  """
  if not net.channel_mults:
    raise ValueError('channel_mults must name at least one level, got none')
  sizes = 'out_channels', 'channels', 'channel_mults', 'num_res_blocks'
  checks.check_settings(
    net,
    *sizes,
    'patch_size',
    'num_heads',
    'head_channels',
    'transformer_depth',
    'num_groups',
  )
  checks.check_image(xt, t, net.patch_size)
  size = tuple(n // net.patch_size for n in xt.shape[1:3])
  heights = [size[0]]
  for _ in net.channel_mults[1:]:
    if min(size) < 2:
      raise ValueError(
        f'{len(net.channel_mults)} levels do not fit an image of '
        f'{xt.shape[1]}x{xt.shape[2]}: it cannot be halved beyond level '
        f'{len(heights)}; shorten channel_mults'
      )
    size = tuple((n + 1) // 2 for n in size)
    heights.append(size[0])
  if net.variant not in ('ddpm', 'ddpm++', 'ncsn++'):
    raise ValueError(
      f"variant must be 'ddpm', 'ddpm++' or 'ncsn++', got {net.variant!r}"
    )
  if net.variant == 'ncsn++' and (
    not net.resblock_updown
    or any(n % 2 ** (len(net.channel_mults) - 1) for n in xt.shape[1:3])
  ):
    raise ValueError(
      "variant 'ncsn++' needs resblock_updown, and sides that its levels halve"
    )
  depths = net.transformer_depths
  if depths and (len(depths) != len(heights) or min(depths) < 1):
    raise ValueError(
      f'transformer_depths must be {len(heights)} numbers of blocks, one for '
      f'each level, got {tuple(depths)}'
    )
  absent = sorted(set(net.attention_resolutions) - set(heights))
  if absent:
    raise ValueError(
      f'attention_resolutions must be among the heights {heights} of the '
      f'feature maps of a {xt.shape[1]}x{xt.shape[2]} image, got {absent}'
    )
  groups = net.num_groups or 1
  if any(net.channels * mult % groups for mult in (1, *net.channel_mults)):
    raise ValueError(
      'num_groups must divide the channels of every level, got '
      f'{net.num_groups}'
    )
  attending = [h in net.attention_resolutions for h in heights]
  attending[-1] = True  # the middle
  for mult, attends in zip(net.channel_mults, attending, strict=True):
    width = net.channels * mult
    name = 'num_heads' if net.head_channels is None else 'head_channels'
    divisor = getattr(net, name)
    if attends and width % divisor:
      raise ValueError(
        f'{name} must divide the {width} channels of every feature map that '
        f'attends, got {divisor}'
      )
