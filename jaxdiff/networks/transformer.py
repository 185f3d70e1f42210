"""A transformer over sequences of categories: text, noisy or masked.

Each element is a token. With e the embedding of time and label, a block is the
DiT's, positions being told by rotary attention,

  x <- x + g_1 attention((1 + a_1) norm(x) + b_1)
  x <- x + g_2 mlp((1 + a_2) norm(x) + b_2),

where b, a and g are made from swish(e) by a matrix that starts at zero. Without
time and label it is x + f(norm(x)), the norm having a scale and a bias of its
own.

Rotary attention tells distances between tokens that differ. To a text of masks
alone it can say nothing, so what is where in a text (a first letter, the '+' of
a sum) is told by sines and cosines added to the tokens.

`width=768, depth=12, num_heads=12` is the network of SEDD and MDLM: 92.4 M
parameters for the 27 characters of text8 and MASK.

Source: Lou et al. 2024 (arXiv:2310.16834), appendix C; Sahoo et al. 2024
(arXiv:2406.07524), section 4 and appendix; Peebles and Xie 2022
(arXiv:2212.09748), section 3.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdiff.networks import embedding, layers
from jaxdiff.networks.attention import Attention

NORM_EPS = 1e-5
FREQUENCIES = 256  # dimension of the sinusoidal embedding of time


class TransformerBlock(nn.Module):
  """One block, as the module has it.

  Takes x [B, L, C], emb [B, E] (after the swish) or None, mask [B, L] or None;
  returns [B, L, C], and None for `nn.scan`.
  """

  num_heads: int
  mlp_ratio: int
  dropout: float
  causal: bool
  deterministic: bool
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: jax.Array, emb: jax.Array | None, mask: jax.Array | None
  ) -> tuple[jax.Array, None]:
    width = x.shape[-1]

    def dense(features, name):
      return layers.Dense(
        features, dtype=self.dtype, kernel_init=layers.kernel_init, name=name
      )

    def residual(x, f, modulation, name):
      h = layers.layer_norm(NORM_EPS, self.dtype, name, affine=emb is None)(x)
      if modulation:
        shift, scale, gate = modulation
        h = gate * drop(f((1 + scale) * h + shift))
      else:
        h = drop(f(h))
      return x + h

    def mlp(h):
      h = dense(self.mlp_ratio * width, 'mlp_0')(h)
      return dense(width, 'mlp_1')(nn.gelu(h, approximate=True))

    drop = nn.Dropout(self.dropout, deterministic=self.deterministic)
    attend = Attention(
      self.num_heads,
      self.dtype,
      qkv_bias=False,
      rotary=True,
      causal=self.causal,
      name='attention',
    )
    parts = [] if emb is None else _modulation(emb, 6, width, self.dtype)
    x = residual(x, lambda h: attend(h, mask=mask), parts[:3], 'norm_0')
    return residual(x, mlp, parts[3:], 'norm_1'), None


class Transformer(nn.Module):
  """The transformer: categories and time to logits of the clean categories.

  The last layer starts at zero, so a new network says that all categories are
  equally likely.

  Attributes:
    num_categories: K', inputs are 0 .. K' - 1 and logits as many; MASK, where
      the noise is absorbing, among them.
    width: of a token; width / num_heads must be even.
    depth: number of blocks.
    num_heads: attention heads.
    mlp_ratio: width of the hidden layer of an MLP, over `width`.
    dropout: rate, of what attention and MLP add; 'dropout' random keys are
      needed in training if it is not 0.
    num_classes: labels; their embedding is added to that of time. None: no
      labels.
    cond_dim: E of the embedding of time and label.
    time: whether t is told. A masked model can do without: the number of masks
      tells (Ou et al. 2024, arXiv:2406.03736, theorem 1).
    absolute: whether positions are added to the tokens; SEDD and MDLM have
      rotary attention alone, which suffices where a text may begin anywhere.
    causal: a token sees itself and those before it: an autoregressive network.
    dtype: of computation, float32 or bfloat16. Parameters, the norms'
      statistics, softmax and the output layer are float32.
    remat: recompute each block in the backward pass instead of keeping what is
      inside: the same numbers, less memory, about a third more work.
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
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    xt: jax.Array,
    t: jax.Array,
    cond: Mapping[str, jax.Array] | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Applies the network.

    Args:
      xt: noisy categories [B, L], integers; one above K' - 1 gives NaN.
      t: times in [0, 1], [B]; not read without `time`.
      cond: 'label' if the network was built for it, and optionally 'mask'
        [B, L], true where an element exists: the others are not attended to,
        and their logits say nothing. None is the null label for all. A label
        above the null label gives NaN.
      train: whether to drop out.

    Returns:
      Logits [B, L, K'], float32.

    Raises:
      ValueError: settings out of range; xt, t or mask of another shape or
        type; conditions other than those the network was built for.
    """
    cond = None if cond is None else dict(cond)
    mask = None if cond is None else cond.pop('mask', None)
    _check(self, xt, t, mask)
    kinds = embedding.Kinds(self.num_classes)
    embedding.check(kinds, cond, xt.shape[0])

    emb = None
    if self.time:
      emb = embedding.embed(
        kinds, t, cond, FREQUENCIES, self.cond_dim, self.dtype, label_std=0.02
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
      waves = layers.sinusoidal(places, self.width, scale=1.0)
      x = x + waves[None].astype(x.dtype)
    # A loop, its parameters stacked; see `dit`.
    block = TransformerBlock
    if self.remat:
      block = nn.remat(block, prevent_cse=False)
    blocks = nn.scan(
      block,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=nn.broadcast,
      length=self.depth,
    )(
      self.num_heads,
      self.mlp_ratio,
      self.dropout,
      self.causal,
      not train,
      self.dtype,
      name='blocks',
    )
    x, _ = blocks(x, emb, mask)

    x = layers.layer_norm(
      NORM_EPS, jnp.float32, 'norm_out', affine=emb is None
    )(x)
    if emb is not None:
      shift, scale = _modulation(emb, 2, self.width, jnp.float32)
      x = (1 + scale) * x + shift
    return layers.Dense(
      self.num_categories, kernel_init=nn.initializers.zeros, name='logits'
    )(x)


def _modulation(emb, parts, width, dtype):
  """W emb in `parts`, each [B, 1, width]; W starts at zero."""
  modulation = layers.Dense(
    parts * width,
    dtype=dtype,
    kernel_init=nn.initializers.zeros,
    name='modulation',
  )(emb)
  return jnp.split(modulation[:, None], parts, axis=-1)


def _check(
  net: Transformer, xt: jax.Array, t: jax.Array, mask: jax.Array | None
) -> None:
  """Raises ValueError for settings or inputs that make no network."""
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
  if jnp.dtype(net.dtype) not in (jnp.float32, jnp.bfloat16):
    raise ValueError(f'dtype must be float32 or bfloat16, got {net.dtype}')
  sizes = 'num_categories', 'width', 'depth', 'num_heads', 'mlp_ratio'
  for name in (*sizes, 'cond_dim'):
    if getattr(net, name) < 1:
      raise ValueError(f'{name} must be at least 1, got {getattr(net, name)}')
  if net.width % (2 * net.num_heads):
    raise ValueError(
      'width must be an even multiple of num_heads, for positions turn pairs '
      f'of channels; got width {net.width} and num_heads {net.num_heads}'
    )
  if not 0 <= net.dropout < 1:
    raise ValueError(f'dropout must be in [0, 1), got {net.dropout}')
