"""A transformer over sequences of categories: text, noisy or masked.

Each element is a token. With e the embedding of time and label, a block is the
DiT's with rotary attention,

  x <- x + g_1 attention((1 + a_1) norm(x) + b_1)
  x <- x + g_2 mlp((1 + a_2) norm(x) + b_2),

where b, a and g are made from swish(e) by a matrix that starts at zero. Without
time and label it is x + f(norm(x)), the norm having a scale and a bias of its
own.

Rotary attention tells distances between tokens that differ. In a text of masks
alone it tells nothing, so sines and cosines of the position are added to the
tokens: data where the position matters (a first letter, the '+' of a sum) need
them.

With `block` a token attends to its own block and to the blocks before it. To
learn block diffusion the network is given the clean text as well: both are one
sequence, and a noisy token attends to its own noisy block and to the clean
blocks before it, which attend to clean blocks alone.

`width=768, depth=12, num_heads=12` is the network of SEDD and MDLM: 92.4 M
parameters for the 27 characters of text8 and MASK.

Source: Lou et al. 2024 (arXiv:2310.16834), appendix C; Sahoo et al. 2024
(arXiv:2406.07524), section 4 and appendix; Peebles and Xie 2022
(arXiv:2212.09748), section 3; `block`: Arriola et al. 2025 (arXiv:2503.09573),
section 4 and appendix B.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks, embedding, layers
from jaxdiff.networks.attention import Attention, Kept
from jaxdiff.networks.blocks import modulation, stacked
from jaxdiff.networks.embedding import Cond
from jaxdiff.networks.layers import Dense, kernel_init

NORM_EPS = 1e-5
FREQUENCIES = 256  # dimension of the sinusoidal embedding of time


class TransformerBlock(nn.Module):
  """One block of the module's equations.

  Takes x [B, L, C], emb [B, E] (after the swish) or None, mask [B, L], seen
  [L, L] and kept, as in `Attention`, and `first` of kept; returns [B, L, C],
  and for `stacked` the keys and values or None.
  """

  num_heads: int
  mlp_ratio: int
  dropout: float
  causal: bool
  streams: int
  deterministic: bool
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    x: Array,
    emb: Array | None,
    mask: Array | None,
    seen: Array | None,
    kept: tuple[Array, Array] | None,
    first: Array | None,
  ) -> tuple[Array, tuple[Array, Array] | None]:
    width = x.shape[-1]
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)

    def residual(x, f, parts, name):
      h = layers.layer_norm(NORM_EPS, self.dtype, name, affine=emb is None)(x)
      if parts:
        shift, scale, gate = parts
        h = gate * drop(f((1 + scale) * h + shift))
      else:
        h = drop(f(h))
      return x + h

    def mlp(h):
      h = dense(self.mlp_ratio * width, name='mlp_0')(h)
      return dense(width, name='mlp_1')(nn.gelu(h, approximate=True))

    drop = nn.Dropout(self.dropout, deterministic=self.deterministic)
    attend = Attention(
      self.num_heads,
      self.dtype,
      qkv_bias=False,
      rotary=True,
      causal=self.causal,
      streams=self.streams,
      name='attention',
    )
    written = None

    def attention(h):
      nonlocal written
      if kept is None:
        return attend(h, None, mask, seen)
      out, written = attend(h, None, mask, seen, Kept(*kept, first))
      return out

    parts = [] if emb is None else modulation(emb, 6, width, self.dtype)
    x = residual(x, attention, parts[:3], 'norm_0')
    return residual(x, mlp, parts[3:], 'norm_1'), written


class Transformer(nn.Module):
  """The transformer: categories and time to logits of the clean categories.

  The last layer starts at zero, so a new network gives all categories the same
  probability.

  Attributes:
    num_categories: K', for inputs 0 .. K' - 1 and as many logits. MASK, where
      the noise is absorbing, is one of them.
    width: Of a token; width / num_heads must be even.
    depth: Number of blocks.
    num_heads: Attention heads.
    mlp_ratio: Width of the hidden layer of an MLP, in units of `width`.
    dropout: Rate for the output of attention and MLP; other than 0 it needs
      'dropout' random keys in training.
    cond_dim: E of the embedding of time and label.
    time: Whether t is an input. A masked model can do without: the number of
      masks tells (Ou et al. 2024, arXiv:2406.03736, theorem 1).
    absolute: Whether positions are added to the tokens. SEDD and MDLM have
      rotary attention alone, which suffices if a text may begin anywhere.
    causal: Whether a token attends only to itself and those before it, as in an
      autoregressive network.
    block: Tokens in a block, of which each attends to its own and those before
      it; None: all attend to all. The parameters are the same.

  `num_classes`, `dtype` and `remat` are those of `jaxdiff.networks`.
  """

  num_categories: int
  width: int = 256
  depth: int = 6
  num_heads: int = 4
  mlp_ratio: int = 4
  dropout: float = 0.0
  num_classes: int | None = None
  cond_dim: int = 128
  time: bool = True
  absolute: bool = True
  causal: bool = False
  block: int | None = None
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False

  @nn.compact
  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array | tuple[Array, tuple[Array, Array]]:
    """Computes logits [B, L, K'] from integers xt [B, L].

    See `jaxdiff.networks`. A category above K' - 1 gives NaN. `t` is not used
    without `time`. In training, dropout takes random keys 'dropout'.

    Beside 'label', `cond` may have 'mask' [B, L], true where an element exists.
    Other elements are not attended to, and their logits mean nothing. With
    `block` it may have 'past' [B, L], the clean text of the blocks before; else
    that is xt. Without `time` it may have 'kept', keys and values [depth, B, S,
    H, D] of a text and `first`, from where on xt is a part of it; then the keys
    and values with those of xt are returned, too.
    """
    mask = past = kept = None
    if cond is not None:
      cond = dict(cond)
      mask, past, kept = (
        cond.pop(name, None) for name in ('mask', 'past', 'kept')
      )
    _check(self, xt, t, mask, past, kept)
    kinds = embedding.Kinds(self.num_classes)
    embedding.check(kinds, cond, xt.shape[0])

    emb = None
    if self.time:
      width, dtype = self.cond_dim, self.dtype
      label = embedding.embed_label(kinds, t, cond, width, dtype, 0.02)
      emb = embedding.embed(
        kinds, t, cond, FREQUENCIES, width, dtype, label=label
      )
    elif self.num_classes is not None:
      null = jnp.full(t.shape, self.num_classes)
      emb = nn.Embed(
        self.num_classes + 1, self.cond_dim, dtype=self.dtype, name='label'
      )(null if cond is None else cond['label'])
    # Every modulation begins with this swish: once here serves them all.
    emb = None if emb is None else nn.swish(emb)

    x = nn.Embed(
      self.num_categories,
      self.width,
      dtype=self.dtype,
      embedding_init=nn.initializers.normal(1.0),
      name='token',
    )(xt if past is None else jnp.concatenate([xt, past], axis=1))
    length, streams = xt.shape[1], 1 if past is None else 2
    k, v, first = kept or (None, None, None)
    if self.absolute:
      places = jnp.arange(length, dtype=jnp.float32) + (
        0 if kept is None else first
      )
      waves = embedding.sinusoidal(places, self.width, scale=1.0)
      x = x + jnp.tile(waves, (streams, 1))[None].astype(x.dtype)
    seen = None
    if self.block is not None:
      total = length if kept is None else k.shape[2]
      seen = jnp.asarray(visible(total, self.block, past is not None))
      if kept is not None:
        seen = jax.lax.dynamic_slice_in_dim(seen, first, length)
    if mask is not None:
      mask = jnp.tile(mask, (1, streams))
    in_axes = (*[nn.broadcast] * 3, 0, nn.broadcast)
    x, written = stacked(TransformerBlock, self.depth, self.remat, in_axes)(
      self.num_heads,
      self.mlp_ratio,
      self.dropout,
      self.causal,
      streams,
      not train,
      self.dtype,
      name='blocks',
    )(x, emb, mask, seen, kept and (k, v), first)
    x = x[:, :length]

    affine = emb is None
    x = layers.layer_norm(NORM_EPS, jnp.float32, 'norm_out', affine)(x)
    if emb is not None:
      shift, scale = modulation(emb, 2, self.width, jnp.float32)
      x = (1 + scale) * x + shift
    zeros = nn.initializers.zeros
    x = Dense(self.num_categories, kernel_init=zeros, name='logits')(x)
    return x if kept is None else (x, written)


def visible(length: int, block: int, past: bool) -> np.ndarray:
  """Tells which positions each attends to, [L, L], or with the past [2L, 2L].

  Source: Arriola et al. 2025, appendix B: block diagonal, offset block causal
  and block causal.
  """
  number = np.arange(length) // block
  same = number[:, None] == number[None]
  before = number[:, None] > number[None]
  if not past:
    return same | before
  return np.block([[same, before], [np.zeros_like(same), same | before]])


def _check(
  net: Transformer,
  xt: Array,
  t: Array,
  mask: Array | None,
  past: Array | None,
  kept: tuple[Array, Array, Array] | None,
) -> None:
  if xt.ndim != 2 or not jnp.issubdtype(xt.dtype, jnp.integer):
    raise ValueError(
      f'xt must be integers [B, L], got {xt.dtype} of shape {tuple(xt.shape)}'
    )
  if t.shape != xt.shape[:1]:
    raise ValueError(f't must be [B] = {xt.shape[:1]}, got shape {t.shape}')
  text = xt.shape if kept is None else kept[0].shape[1:3]
  if mask is not None and (mask.shape != text or mask.dtype != jnp.bool_):
    raise ValueError(
      f"cond['mask'] must be booleans {tuple(text)} like xt, got "
      f'{mask.dtype} of shape {tuple(mask.shape)}'
    )
  if past is not None and (net.block is None or past.shape != xt.shape):
    raise ValueError(
      f"cond['past'] needs block and the shape {tuple(xt.shape)} of xt, got "
      f'block={net.block} and {tuple(past.shape)}'
    )
  if kept is not None and (net.block is None or net.time or past is not None):
    raise ValueError("cond['kept'] needs block, no time and no cond['past']")
  sizes = 'num_categories', 'width', 'depth', 'num_heads', 'mlp_ratio'
  checks.check_settings(net, *sizes, 'cond_dim', 'block')
  if net.block is not None and net.causal:
    raise ValueError('causal is a block of 1: give causal or block, not both')
  if net.width % (2 * net.num_heads):
    raise ValueError(
      'width must be an even multiple of num_heads, for rotary attention pairs '
      f'channels; got width {net.width} and num_heads {net.num_heads}'
    )
