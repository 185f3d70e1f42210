"""Configuration of the network: one dataclass for each architecture."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from jaxdiff.config.ranges import In, Positive, Section, Size

Dropout = Annotated[float, In('[0, 1)')]
Depth = Annotated[int, In('[1, 1024]')]


@dataclass(frozen=True)
class Network(Section):
  """The fields that every network has."""

  prefix: ClassVar[str] = 'network.'
  dtype: Literal['float32', 'bfloat16'] = 'float32'
  remat: bool = False  # recompute blocks in the backward pass: less memory
  # Of jax.checkpoint_policies: what is kept all the same.
  remat_policy: Literal[
    'nothing_saveable', 'dots_saveable', 'dots_with_no_batch_dims_saveable'
  ] = 'nothing_saveable'


@dataclass(frozen=True)
class UNet(Network):
  """See `networks.unet`: images."""

  channels: Size = 128
  channel_mults: tuple[Size, ...] = (1, 2, 2, 2)
  num_res_blocks: Depth = 2
  attention_resolutions: tuple[Size, ...] = (16,)
  num_heads: Size = 1
  head_channels: Size | None = None
  transformer_depth: Depth = 1  # with text: blocks at each attention
  transformer_depths: tuple[Depth, ...] = ()  # or on each level
  pooled_mlp: bool = False  # with text: two layers for its vector
  # Channels of a mask and a masked image beside the noisy one: to fill in.
  beside: Annotated[int, In('[0, 65536]')] = 0

  dropout: Dropout = 0.0
  scale_shift_norm: bool = False
  resblock_updown: bool = False
  patch_size: Size = 1  # squares of pixels as channels: faster, coarser
  time_scale: Positive = 1000.0  # largest frequency of the embedding of time
  # Added to the variance in norms; ADM: 1e-5.
  norm_eps: Annotated[float, In('(0, 1]')] = 1e-6
  num_groups: Size | None = None  # of the norms; None: by the width
  # As in Stable Diffusion: the embedding of time has cosines first.
  cosine_first: bool = False
  frequency_shift: Annotated[int, In('[0, 1]')] = 1  # of that embedding
  padded_halving: bool = False  # on all sides, not bottom and right alone
  variant: Literal['ddpm', 'ddpm++', 'ncsn++'] = 'ddpm'
  # Fourier features of pixels, sines and cosines of 2 pi 2^n xt; VDM: 6 7.
  pixel_exponents: tuple[Annotated[int, In('[0, 16]')], ...] = ()


@dataclass(frozen=True)
class DiT(Network):
  """See `networks.dit`: images."""

  patch_size: Size = 2
  width: Size = 384
  depth: Depth = 12
  num_heads: Size = 6
  patch_channels: Size | None = None  # a bottleneck between patch and token
  qk_norm: bool = False  # RMS norms of queries and keys
  rms_norm: bool = False  # instead of layer norms
  swiglu: bool = False  # gated MLPs
  rotary: bool = False  # rotary attention over rows and columns too
  class_tokens: Annotated[int, In('[0, 1024]')] = 0  # before the patches
  class_tokens_from: Annotated[int, In('[0, 1023]')] = 0  # from which block on
  skips: bool = False  # the last half of the blocks reads the first half
  time_scale: Positive = 1000.0
  frequency_shift: Annotated[int, In('[0, 1]')] = 1  # of the embedding of time


@dataclass(frozen=True)
class EDM2(Network):
  """See `networks.edm2`: images."""

  channels: Size = 192
  channel_mults: tuple[Size, ...] = (1, 2, 3, 4)
  num_res_blocks: Depth = 3
  attention_resolutions: tuple[Size, ...] = (16, 8)
  dropout: Dropout = 0.0


@dataclass(frozen=True)
class MLP(Network):
  """See `networks.mlp`: points."""

  width: Size = 128
  depth: Depth = 4
  time_scale: Positive = 1000.0


@dataclass(frozen=True)
class ConvNet(Network):
  """See `networks.classifier`: classification of images."""

  width: Size = 32


@dataclass(frozen=True)
class Autoencoder(Network):
  """See `networks.autoencoder`: autoencoding of images."""

  latent_channels: Size = 4
  channels: Size = 128
  channel_mults: tuple[Size, ...] = (1, 2, 4, 4)
  num_res_blocks: Depth = 2
  attention: bool = True  # of the middle
  num_groups: Size = 32  # of the norms; divides the channels of every level
  num_codes: Size | None = None  # of a codebook; None: normal distributions


@dataclass(frozen=True)
class Transformer(Network):
  """See `networks.transformer`: text."""

  width: Size = 256
  depth: Depth = 6
  num_heads: Size = 4
  dropout: Dropout = 0.0
  time: bool = True  # false: the noise level is not an input (absorbing)
  absolute: bool = True  # positions also by sinusoids, not rotary alone
  # Block diffusion: characters in a block, which are noisy together while those
  # before are known; 1 is autoregressive, None all. Sampling takes its steps in
  # each block.
  block: Size | None = None


@dataclass(frozen=True)
class GraphTransformer(Network):
  """See `networks.graph_transformer`: graphs."""

  width: Size = 64
  edge_width: Size = 32
  global_width: Size = 64
  depth: Depth = 5
  num_heads: Size = 4
  features: bool = True  # counted cycles and the spectrum
  walks: Annotated[int, In('[0, 64]')] = 0  # powers of the random walk (RRWP)
  dropout: Dropout = 0.0


@dataclass(frozen=True)
class Custom(Network):
  """A Flax module from outside: 'package.module:Net(width=64)'.

  It is called as (xt, t, cond, train) and is given those of out_channels,
  num_categories, num_classes, text_dim, pooled_dim, low_res, dtype and remat
  for which it has a field.
  """

  name: str = ''


@dataclass(frozen=True)
class Lora(Section):
  """Low-rank factors of attention, trained instead of the weights of --init."""

  prefix: ClassVar[str] = 'lora.'
  rank: Size | None = None  # None: all weights are trained
  alpha: Positive | None = None  # the product has the weight alpha / rank: 1


AnyNetwork = (
  UNet
  | DiT
  | EDM2
  | MLP
  | ConvNet
  | Autoencoder
  | Transformer
  | GraphTransformer
  | Custom
)

# The architectures that read data of a modality.
FITTING = {
  'points': ('MLP',),
  'image': ('UNet', 'DiT', 'EDM2'),
  'latent': ('UNet', 'DiT', 'EDM2'),
  'text': ('Transformer',),
  'graph': ('GraphTransformer',),
}
