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

`width=768, depth=12, num_heads=12` is the network of SEDD and MDLM: 92.4 M
parameters for the 27 characters of text8 and MASK.

Source: Lou et al. 2024 (arXiv:2310.16834), appendix C; Sahoo et al. 2024
(arXiv:2406.07524), section 4 and appendix; Peebles and Xie 2022
(arXiv:2212.09748), section 3.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks, embedding, layers
from jaxdiff.networks.attention import Attention
from jaxdiff.networks.blocks import modulation, stacked
from jaxdiff.networks.embedding import Cond
from jaxdiff.networks.layers import Dense, kernel_init

NORM_EPS = 1e-5
FREQUENCIES = 256  # dimension of the sinusoidal embedding of time


class TransformerBlock(nn.Module):
  """One block of the module's equations.

  Takes x [B, L, C], emb [B, E] (after the swish) or None, mask [B, L] or None;
  returns [B, L, C], and None for `stacked`.
  """

  num_heads: int
  mlp_ratio: int
  dropout: float
  causal: bool
  deterministic: bool
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: Array, emb: Array | None, mask: Array | None
  ) -> tuple[Array, None]:
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
      name='attention',
    )
    parts = [] if emb is None else modulation(emb, 6, width, self.dtype)
    x = residual(x, lambda h: attend(h, mask=mask), parts[:3], 'norm_0')
    return residual(x, mlp, parts[3:], 'norm_1'), None


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
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False

  @nn.compact
  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Computes logits [B, L, K'] from integers xt [B, L].

    See `jaxdiff.networks`. A category above K' - 1 gives NaN. `t` is not used
    without `time`. In training, dropout takes random keys 'dropout'.

    Beside 'label', `cond` may have 'mask' [B, L], true where an element exists.
    Other elements are not attended to, and their logits mean nothing.
    """
    cond = None if cond is None else dict(cond)
    mask = None if cond is None else cond.pop('mask', None)
    _check(self, xt, t, mask)
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
    )(xt)
    if self.absolute:
      places = jnp.arange(xt.shape[1], dtype=jnp.float32)
      waves = embedding.sinusoidal(places, self.width, scale=1.0)
      x = x + waves[None].astype(x.dtype)
    x, _ = stacked(TransformerBlock, self.depth, self.remat)(
      self.num_heads,
      self.mlp_ratio,
      self.dropout,
      self.causal,
      not train,
      self.dtype,
      name='blocks',
    )(x, emb, mask)

    affine = emb is None
    x = layers.layer_norm(NORM_EPS, jnp.float32, 'norm_out', affine)(x)
    if emb is not None:
      shift, scale = modulation(emb, 2, self.width, jnp.float32)
      x = (1 + scale) * x + shift
    zeros = nn.initializers.zeros
    return Dense(self.num_categories, kernel_init=zeros, name='logits')(x)


def _check(net: Transformer, xt: Array, t: Array, mask: Array | None) -> None:
  if xt.ndim != 2 or not jnp.issubdtype(xt.dtype, jnp.integer):
    raise ValueError(
      f'xt must be integers [B, L], got {xt.dtype} of shape {tuple(xt.shape)}'
    )
  if t.shape != xt.shape[:1]:
    raise ValueError(f't must be [B] = {xt.shape[:1]}, got shape {t.shape}')
  if mask is not None and (mask.shape != xt.shape or mask.dtype != jnp.bool_):
    raise ValueError(
      f"cond['mask'] must be booleans {tuple(xt.shape)} like xt, got "
      f'{mask.dtype} of shape {tuple(mask.shape)}'
    )
  sizes = 'num_categories', 'width', 'depth', 'num_heads', 'mlp_ratio'
  checks.check_settings(net, *sizes, 'cond_dim')
  if net.width % (2 * net.num_heads):
    raise ValueError(
      'width must be an even multiple of num_heads, for rotary attention pairs '
      f'channels; got width {net.width} and num_heads {net.num_heads}'
    )
