"""The config.json of the text U-Net of Stable Diffusion in diffusers' layout.

A field that says anything that `networks.unet` has not is refused by name.
"""

from typing import Any, NamedTuple

from jaxdiff.networks.unet import UNet
from jaxdiff.pretrained import configs
from jaxdiff.pretrained.configs import Config, field

MAX_LEVELS, MAX_BLOCKS = 16, 64

# Fields that have one value here.
_FIXED: dict[str, Any] = {
  '_class_name': 'UNet2DConditionModel',
  'act_fn': 'silu',
  'addition_embed_type_num_heads': 64,
  'attention_type': 'default',
  'center_input_sample': False,
  'class_embed_type': None,
  'class_embeddings_concat': False,
  'conv_in_kernel': 3,
  'conv_out_kernel': 3,
  'cross_attention_norm': None,
  'dropout': 0.0,
  'dual_cross_attention': False,
  'encoder_hid_dim': None,
  'encoder_hid_dim_type': None,
  'mid_block_only_cross_attention': None,
  'mid_block_scale_factor': 1,
  'mid_block_type': 'UNetMidBlock2DCrossAttn',
  'num_class_embeds': None,
  'only_cross_attention': False,
  'resnet_out_scale_factor': 1.0,
  'resnet_skip_time_act': False,
  'resnet_time_scale_shift': 'default',
  'reverse_transformer_layers_per_block': None,
  'time_cond_proj_dim': None,
  'time_embedding_act_fn': None,
  'time_embedding_dim': None,
  'time_embedding_type': 'positional',
  'timestep_post_act': None,
}
# Fields that are read, and those that say nothing of the numbers.
_READ = (
  'addition_embed_type',
  'addition_time_embed_dim',
  'attention_head_dim',
  'block_out_channels',
  'cross_attention_dim',
  'down_block_types',
  'downsample_padding',
  'flip_sin_to_cos',
  'freq_shift',
  'in_channels',
  'layers_per_block',
  'norm_eps',
  'norm_num_groups',
  'num_attention_heads',
  'out_channels',
  'projection_class_embeddings_input_dim',
  'sample_size',
  'transformer_layers_per_block',
  'up_block_types',
  'upcast_attention',
  'use_linear_projection',
)


class TextUNet(NamedTuple):
  """The settings in the config of a U-Net.

  settings: of `networks.unet.UNet`, but for its size-dependent
    attention_resolutions.
  attends: for each level, whether its blocks attend.
  in_channels: of the latents and of what stands beside them.
  side: the side length of the latents it was trained on.
  sizes_dim: frequencies of each size that SDXL is told, which with the vector
    of the text are `pooled_dim` numbers; None for the others.
  """

  settings: dict[str, Any]
  attends: tuple[bool, ...]
  in_channels: int
  side: int
  sizes_dim: int | None = None

  def network(self, height: int, **settings: Any) -> UNet:
    """Builds the network for latents of a height."""
    heights = []
    for attends in self.attends:
      heights += [height] if attends else []
      height = (height + 1) // 2
    return UNet(
      **self.settings | settings, attention_resolutions=tuple(heights)
    )


def read_unet_config(config: Config) -> TextUNet:
  """Reads the config.json of a UNet2DConditionModel.

  Raises:
    ValueError: A field is unknown, or has a value that no network here has.
  """
  configs.check_fields(config, _FIXED, _READ)
  widths = configs.sizes(config, 'block_out_channels', (320, 640, 1280, 1280))
  channels, levels = widths[0], len(widths)
  if levels > MAX_LEVELS or any(width % channels for width in widths):
    raise ValueError(
      f'block_out_channels must be at most {MAX_LEVELS} multiples of the first'
    )
  heads = configs.sizes(config, 'attention_head_dim', 8, levels)
  if config.get('num_attention_heads') is not None:
    heads = configs.sizes(config, 'num_attention_heads', 8, levels)
  each = {width / n for width, n in zip(widths, heads, strict=True)}
  if len(set(heads)) == 1:
    attention = {'num_heads': heads[0]}
  elif len(each) == 1 and widths[0] % heads[0] == 0:
    attention = {'head_channels': widths[0] // heads[0]}
  else:
    raise ValueError(
      'attention_head_dim must be one number of heads, or heads of one width, '
      f'got {list(heads)}'
    )
  images = field(config, 'in_channels', 4)
  outputs = field(config, 'out_channels', 4)
  # A mask and a masked image.
  beside = outputs + 1 if images == 2 * outputs + 1 else 0
  settings = {
    'out_channels': outputs,
    'beside': beside,
    'channels': channels,
    'channel_mults': tuple(width // channels for width in widths),
    'num_res_blocks': field(config, 'layers_per_block', 2, MAX_BLOCKS),
    'transformer_depths': configs.sizes(
      config, 'transformer_layers_per_block', 1, levels
    ),
    'text_dim': field(config, 'cross_attention_dim', 1280),
    'norm_eps': field(config, 'norm_eps', 1e-5),
    'num_groups': field(config, 'norm_num_groups', 32),
    'cosine_first': configs.flag(config, 'flip_sin_to_cos'),
    'frequency_shift': configs.one_of(config, 'freq_shift', (0, 1)),
    'padded_halving': bool(
      configs.one_of(config, 'downsample_padding', (1, 0))
    ),
    **attention,
  }
  if max(settings['transformer_depths']) > MAX_BLOCKS:
    raise ValueError(
      f'transformer_layers_per_block must be at most {MAX_BLOCKS}'
    )
  kind = configs.one_of(config, 'addition_embed_type', (None, 'text_time'))
  sizes_dim = None
  if kind is not None:
    sizes_dim = field(config, 'addition_time_embed_dim', 256)
    dim = field(config, 'projection_class_embeddings_input_dim', 2816)
    settings |= {'pooled_dim': dim, 'pooled_mlp': True}
  attends = _attending(config, levels)
  side = field(config, 'sample_size', 64)
  return TextUNet(settings, attends, images, side, sizes_dim)


def _attending(config: Config, levels: int) -> tuple[bool, ...]:
  """Reads which levels attend, the same going down and coming up."""
  down, up = (
    {f'CrossAttn{way}Block2D': True, f'{way}Block2D': False}
    for way in ('Down', 'Up')
  )
  first = ['CrossAttnDownBlock2D'] * (levels - 1) + ['DownBlock2D']
  last = ['UpBlock2D'] + ['CrossAttnUpBlock2D'] * (levels - 1)
  for name, kinds, default in (
    ('down_block_types', down, first),
    ('up_block_types', up, last),
  ):
    found = field(config, name, default)
    unknown = [repr(kind)[:100] for kind in found if str(kind) not in kinds]
    if unknown or len(found) != levels:
      raise ValueError(
        f'{name} must be {levels} of {sorted(kinds)}, got '
        f'{", ".join(unknown) or len(found)}'
      )
  attends = [down[kind] for kind in field(config, 'down_block_types', first)]
  coming_up = [up[kind] for kind in field(config, 'up_block_types', last)]
  if attends != coming_up[::-1]:
    raise ValueError('up_block_types must be the reverse of down_block_types')
  return tuple(attends)
