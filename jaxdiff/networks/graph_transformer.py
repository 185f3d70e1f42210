"""The graph transformer: a noisy graph to logits of its nodes and edges.

Nodes carry x_i, ordered pairs e_ij, the graph y. With h, f the norms of x, e
and FiLM(u | c) = (1 + W c) u + W' c, a block is

  s_ij = FiLM((Q h_i) (K h_j) | f_ij)        one number a channel of e
  x_i <- x_i + W FiLM(sum_j softmax_j(s_ij) V h_j | y)
  e_ij <- e_ij + W FiLM(s_ij | y)
  y   <- y + W [statistics of h; statistics of f; norm(y)]

each followed by x <- x + mlp(norm(x)), and the same for e and y. Each head has
one softmax, of the sum of its channels. Only the graph tells nodes apart, so
permuting nodes permutes the output.

DiGress has the products s_ij in as many channels as x, and norms after the
sums. Here s is as wide as e, which saves most of the time of a step, and norms
come before.

Source: DiGress (Vignac et al. 2023) section 3.3 and appendix B.1; FiLM: Perez
et al. 2018.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks, embedding, graph_features
from jaxdiff.networks.blocks import stacked
from jaxdiff.networks.layers import Dense, kernel_init, layer_norm

NORM_EPS = 1e-6
FREQUENCIES = 128  # dimension of the sinusoidal embedding of time

Graph = Mapping[str, Array]
State = tuple[Array, Array, Array]


class GraphBlock(nn.Module):
  """One block of the module's equations.

  Takes (x [B, N, C], e [B, N, N, D], y [B, G]), and which nodes [B, N] and
  pairs [B, N, N] exist; returns the three, and None for `stacked`.
  """

  num_heads: int
  dtype: DTypeLike
  dropout: float = 0.0
  deterministic: bool = True

  @nn.compact
  def __call__(
    self, state: State, nodes: Array, pairs: Array
  ) -> tuple[State, None]:
    x, e, y = state
    width, edge_width, global_width = (part.shape[-1] for part in state)
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)
    drop = nn.Dropout(self.dropout, deterministic=self.deterministic)

    def norm(u, name):
      return layer_norm(NORM_EPS, self.dtype, name)(u)

    def film(u, c, name):
      a, b = jnp.split(dense(2 * u.shape[-1], name=name)(c), 2, axis=-1)
      return (1 + a) * u + b

    def mlp(u, name):
      inner = drop(nn.gelu(dense(2 * u.shape[-1], name=f'{name}_0')(u)))
      return drop(dense(u.shape[-1], name=f'{name}_1')(inner))

    h, f, g = norm(x, 'node_norm'), norm(e, 'edge_norm'), norm(y, 'global_norm')
    channels = edge_width // self.num_heads
    query = dense(edge_width, name='query')(h) * channels**-0.5
    key = dense(edge_width, name='key')(h)
    scores = film(query[:, :, None] * key[:, None], f, 'edge_film')
    b, n = nodes.shape
    logits = scores.reshape(b, n, n, self.num_heads, channels)
    logits = logits.sum(-1, dtype=jnp.float32)
    attended = pairs[..., None]
    weights = nn.softmax(jnp.where(attended, logits, -1e9), axis=2)
    # Without this a lone node would attend to nodes that do not exist.
    weights = jnp.where(attended, weights, 0.0).astype(self.dtype)
    value = dense(width, name='value')(h).reshape(b, n, self.num_heads, -1)
    message = jnp.einsum('bijh,bjhc->bihc', weights, value).reshape(x.shape)

    message = film(message, g[:, None], 'node_global')
    x = x + drop(dense(width, name='node_out')(message))
    x = x + mlp(norm(x, 'node_mlp_norm'), 'node_mlp')
    scores = film(scores, g[:, None, None], 'edge_global')
    e = e + drop(dense(edge_width, name='edge_out')(scores))
    e = e + mlp(norm(e, 'edge_mlp_norm'), 'edge_mlp')
    whole = [_statistics(h, nodes), _statistics(f, pairs), g]
    whole = dense(global_width, name='global_out')(jnp.concatenate(whole, -1))
    y = y + drop(whole)
    y = y + mlp(norm(y, 'global_mlp_norm'), 'global_mlp')
    return (x, e, y), None


class GraphTransformer(nn.Module):
  """The network: a noisy graph and time to logits.

  A new network outputs exactly 0, the same probability for every category.

  Attributes:
    node_categories: K of the nodes, with MASK. None: nodes are alike.
    edge_categories: K' of the edges, with MASK; 0 is no edge.
    width: Of a node; a multiple of `num_heads`.
    edge_width: Of a pair of nodes; a multiple of `num_heads`.
    global_width: Of the graph.
    depth: Number of blocks.
    num_heads: Attention heads.
    features: Whether `graph_features` are added. Every category but 0 and
      `edge_mask` is an edge to them.
    walks: Number of powers of `graph_features.walks`; 0: none.
    edge_mask: MASK among the edges, under absorbing noise.
    dropout: Rate for the outputs of attention, and within and after the MLPs;
      other than 0 it needs 'dropout' random keys in training.

  `num_classes`, `dtype` and `remat` are those of `jaxdiff.networks`; features
  are float32 too.
  """

  node_categories: int | None
  edge_categories: int
  width: int = 128
  edge_width: int = 64
  global_width: int = 64
  depth: int = 5
  num_heads: int = 8
  features: bool = True
  edge_mask: int | None = None
  num_classes: int | None = None
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False
  walks: int = 0
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    xt: Graph,
    t: Array,
    cond: Mapping[str, Any] | None = None,
    *,
    train: bool = False,
  ) -> dict[str, Array]:
    """Computes logits of the nodes and edges of a graph.

    See `jaxdiff.networks`.

    Args:
      xt: {'nodes': int [B, N], 'edges': int [B, N, N], symmetric}, without
        'nodes' where they are alike. The diagonal is ignored.
      t: Times [B].
      cond: 'label' [B] for a network with labels. Optionally 'mask', bool, a
        tree like xt: which nodes, and which pairs of different nodes, exist.
        Where nodes are alike, a node exists if it is in a pair.

    Returns:
      {'nodes': [B, N, K], 'edges': [B, N, N, K'], exactly symmetric}, float32,
      without 'nodes' where they are alike; 0 where nothing exists.
    """
    _check(self, xt, t, cond)
    kinds = embedding.Kinds(num_classes=self.num_classes)
    if cond is not None:
      cond = dict(cond)
    mask = None if cond is None else cond.pop('mask', None)
    embedding.check(kinds, cond, t.shape[0])

    nodes, pairs = _existing(xt['edges'], mask)
    adjacency = pairs & (xt['edges'] != 0)
    if self.edge_mask is not None:
      adjacency &= xt['edges'] != self.edge_mask

    x = [jnp.ones((*nodes.shape, 1), self.dtype)]
    e = [jax.nn.one_hot(xt['edges'], self.edge_categories, dtype=self.dtype)]
    y = embedding.embed(
      kinds, t, cond, FREQUENCIES, self.global_width, self.dtype
    )
    if self.node_categories is not None:
      kind = jax.nn.one_hot(xt['nodes'], self.node_categories, dtype=self.dtype)
      x.append(kind)
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)
    if self.features:
      known = graph_features.features(adjacency, nodes)
      x.append(known.nodes.astype(self.dtype))
      e.append(known.edges.astype(self.dtype))
      y = y + dense(self.global_width, name='global_in')(known.graph)
    if self.walks:
      back, across = graph_features.walks(adjacency, nodes, self.walks)
      x.append(back.astype(self.dtype))
      e.append(across.astype(self.dtype))
    x = dense(self.width, name='node_in')(jnp.concatenate(x, -1))
    e = dense(self.edge_width, name='edge_in')(jnp.concatenate(e, -1))

    blocks = stacked(GraphBlock, self.depth, self.remat)
    blocks = blocks(
      self.num_heads, self.dtype, self.dropout, not train, name='blocks'
    )
    (x, e, _), _ = blocks((x, e, y), nodes, pairs)

    def logits(u, categories, name):
      u = layer_norm(NORM_EPS, jnp.float32, f'{name}_out_norm')(u)
      zeros = nn.initializers.zeros
      return Dense(categories, kernel_init=zeros, name=f'{name}_out')(u)

    e = logits(e, self.edge_categories, 'edge')
    e = e + e.swapaxes(1, 2)
    out = {'edges': jnp.where(pairs[..., None], e, 0.0)}
    if self.node_categories is not None:
      x = logits(x, self.node_categories, 'node')
      out['nodes'] = jnp.where(nodes[..., None], x, 0.0)
    return out


def _existing(edges: Array, mask: Graph | None) -> tuple[Array, Array]:
  """Finds the existing nodes [B, N] and pairs of different nodes [B, N, N]."""
  if mask is None:
    nodes = jnp.ones(edges.shape[:2], bool)
  elif 'nodes' in mask:
    nodes = mask['nodes']
  else:
    nodes = mask['edges'].any(-1)
  different = ~jnp.eye(edges.shape[-1], dtype=bool)[None]
  return nodes, nodes[:, :, None] & nodes[:, None, :] & different


def _statistics(u: Array, on: Array) -> Array:
  """Computes mean, std, min, max over what exists: [B, .., C] -> [B, 4 C].

  All are 0 where nothing exists.

  Source: Corso et al. 2020 (principal neighbourhood aggregation), eq. 8.
  """
  axes = tuple(range(1, on.ndim))
  dtype, u, on = u.dtype, u.astype(jnp.float32), on[..., None]
  count = jnp.maximum(on.sum(axes), 1)
  mean = jnp.where(on, u, 0.0).sum(axes) / count
  centred = u - jnp.expand_dims(mean, axes)
  variance = jnp.where(on, centred**2, 0.0).sum(axes) / count
  least = jnp.where(on, u, jnp.inf).min(axes)
  most = jnp.where(on, u, -jnp.inf).max(axes)
  some = on.any(axes)
  # The root of 0 has no derivative.
  parts = [mean, jnp.sqrt(variance + NORM_EPS), least, most]
  return jnp.where(some, jnp.concatenate(parts, -1), 0.0).astype(dtype)


def _check(
  net: GraphTransformer, xt: Graph, t: Array, cond: Mapping[str, Any] | None
) -> None:
  sizes = 'edge_categories', 'width', 'edge_width', 'global_width', 'depth'
  checks.check_settings(net, *sizes, 'num_heads', 'node_categories')
  if net.width % net.num_heads or net.edge_width % net.num_heads:
    raise ValueError(
      f'width and edge_width must be multiples of num_heads={net.num_heads}, '
      f'got {net.width} and {net.edge_width}'
    )

  def described(tree):
    if not isinstance(tree, Mapping):
      return f'of type {type(tree).__name__}'
    return {name: tuple(part.shape) for name, part in sorted(tree.items())}

  got = described(xt)
  (batch,) = t.shape if t.ndim == 1 else ('B',)
  size = xt['edges'].shape[-1] if 'edges' in got else 'N'
  wanted = {'edges': (batch, size, size)}
  if net.node_categories is not None:
    wanted['nodes'] = (batch, size)
  if got != wanted:
    raise ValueError(
      f'xt must be {wanted} with node_categories={net.node_categories}, and t '
      f'[B], got {got} and {tuple(t.shape)}'
    )
  mask = None if cond is None else cond.get('mask')
  if mask is not None and described(mask) != wanted:
    raise ValueError(
      f"cond['mask'] must be like xt, {wanted}, got {described(mask)}"
    )
