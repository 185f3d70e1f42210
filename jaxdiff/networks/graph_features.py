"""What a graph transformer is told of a graph beyond its edges.

Attention over nodes that are alike counts no cycles and sees no distances, so
they are computed from the adjacency A (symmetric, no loops) and given:

  cycles    how many of length 3, 4, 5 go through a node, of 3 to 6 in all, by
            closed forms in the powers of A
  parts     the connected components, by squaring A + I until nothing changes
  spectrum  the smallest eigenvalues of L = I - D^-1/2 A D^-1/2, and the heat
            kernels exp(-tau L) = U exp(-tau lambda) U^T

Eigenvectors have no sign, and within an eigenspace no direction at all. The
heat kernel is the same whatever basis was found, so permuting the nodes
permutes every feature. Nodes that do not exist have no edges and get zeros;
nothing depends on how many of them there are.

All matrix products are exact in float32 or carried at its full precision: the
counts are differences of large numbers.

Source: DiGress (Vignac et al. 2023) section 5 and appendix B, with eigenvectors
where heat kernels are here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NUM_EIGENVALUES = 5
HEAT_TIMES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
ABSENT = 3.0  # an eigenvalue above any of L's, those being at most 2


class Features(NamedTuple):
  """Numbers of order 1, float32."""

  nodes: jax.Array  # [B, N, F]
  edges: jax.Array  # [B, N, N, F'], symmetric
  graph: jax.Array  # [B, F'']


def features(adjacency: jax.Array, exists: jax.Array) -> Features:
  """All of them.

  Counts c become log(1 + c) / k, k the length of what is counted: of the order
  of the logarithm of a degree, whatever the size of the graph.

  Args:
    adjacency: bool [B, N, N], symmetric; false wherever a node does not exist,
      and on the diagonal.
    exists: bool [B, N], which nodes do.
  """
  a = adjacency.astype(jnp.float32)
  on = exists.astype(jnp.float32)
  pairs = on[:, :, None] * on[:, None, :]
  degree = a.sum(-1)
  through, total = cycles(a)
  values, heat = spectrum(a, exists)
  together = connected(a) * pairs
  size = together.sum(-1)
  largest = (size == size.max(-1, keepdims=True)) * on
  num_parts = jnp.sum(on / jnp.maximum(size, 1.0), -1)
  shared = _product(a, a)  # neighbours that two nodes have in common

  diagonal = jnp.diagonal(heat, axis1=1, axis2=2).swapaxes(1, 2)
  squash = lambda count, length: jnp.log1p(count) / np.float32(length)
  nodes = jnp.concatenate(
    [
      squash(degree, 1)[..., None],
      squash(through, 1) / _row([3, 4, 5], through.ndim),
      largest[..., None],
      diagonal,
    ],
    axis=-1,
  )
  edges = jnp.concatenate(
    [
      # Level near 0, where the kernel is no more than rounding.
      jnp.sqrt(heat + 1e-4) - 1e-2,
      squash(shared, 2)[..., None],
      together[..., None],
    ],
    axis=-1,
  )
  graph = jnp.concatenate(
    [
      squash(total, 1) / _row([3, 4, 5, 6], total.ndim),
      jnp.stack([squash(on.sum(-1), 2), squash(num_parts, 1)], -1),
      values,
    ],
    axis=-1,
  )
  return Features(
    jnp.where(exists[..., None], nodes, 0.0),
    jnp.where(pairs[..., None] > 0, edges, 0.0),
    graph,
  )


def cycles(a: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Numbers of cycles, from the closed walks that are none taken away.

  With d the degrees, t = diag(A^3), T = A . A^2 (element by element):

    c3 = t / 2
    c4 = (diag(A^4) - d^2 - A d + d) / 2
    c5 = (diag(A^5) - 2 d t - 2 T d - A t + 5 t) / 2

  at each node, for a closed walk of 3, 4 or 5 steps that is no cycle goes back
  and forth at some edge. Of length 6 only the number in all is so simple.
  Exact while the powers of A fit in float32's 24 bits; beyond that the counts
  are off by rounding, and held at 0.

  Args:
    a: adjacency [B, N, N], float32 zeros and ones.

  Returns:
    [B, N, 3] through each node, of length 3, 4, 5; [B, 4] in all, 3 to 6.

  Source: Harary and Manvel 1971 ("On the number of cycles in a graph") for the
  totals, DiGress appendix B.2.
  """
  column = lambda x: x[..., None]
  a2 = _product(a, a)
  a3 = _product(a2, a)
  degree = a.sum(-1)
  t = jnp.sum(a2 * a, -1)
  closed_4 = jnp.sum(a2 * a2, -1)
  closed_5 = jnp.sum(a2 * a3, -1)
  around = lambda m, x: _product(m, column(x))[..., 0]
  c3 = t / 2
  c4 = (closed_4 - degree**2 - around(a, degree) + degree) / 2
  c5 = closed_5 - 2 * degree * t - 2 * around(a * a2, degree)
  c5 = (c5 - around(a, t) + 5 * t) / 2
  through = jnp.maximum(jnp.stack([c3, c4, c5], -1), 0.0)

  total = lambda x: x.sum(-1)
  c6 = (
    total(total(a3 * a3))
    - 3 * total(t**2)
    + 9 * total(total(a * a2**2))
    - 6 * total(degree * closed_4)
    + 6 * total(closed_4)
    - 4 * total(t)
    + 4 * total(degree**3)
    + 3 * total(total(a3))
    - 12 * total(degree**2)
    + 4 * total(degree)
  ) / 12
  totals = through.sum(1) / _row([3, 4, 5], 2)
  return through, jnp.concatenate(
    [totals, jnp.maximum(c6, 0.0)[:, None]], axis=-1
  )


def connected(a: jax.Array) -> jax.Array:
  """Which nodes a path joins, float32 [B, N, N]; each with itself."""
  reach = jnp.minimum(a + jnp.eye(a.shape[-1])[None], 1.0)
  for _ in range(max(1, (a.shape[-1] - 1).bit_length())):
    reach = jnp.minimum(_product(reach, reach), 1.0)
  return reach


def spectrum(a: jax.Array, exists: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Of the normalised Laplacian: small eigenvalues and heat kernels.

  An isolated node has L = 0, so eigenvalue 0 comes as often as there are
  components. What is missing in a small graph counts as 2, the largest there
  can be.

  Args:
    a: adjacency [B, N, N], float32.
    exists: bool [B, N].

  Returns:
    The NUM_EIGENVALUES smallest eigenvalues after the first, [B, K]; the heat
    kernels at HEAT_TIMES [B, N, N, H], in [0, 1].
  """
  degree = a.sum(-1)
  scale = jnp.where(degree > 0, jax.lax.rsqrt(jnp.maximum(degree, 1.0)), 0.0)
  # What does not exist is an eigenspace of its own, behind all others.
  diagonal = jnp.where(exists, (degree > 0).astype(jnp.float32), ABSENT)
  eye = jnp.eye(a.shape[-1])[None]
  laplacian = eye * diagonal[:, None, :]
  laplacian = laplacian - scale[:, :, None] * a * scale[:, None, :]
  values, vectors = jnp.linalg.eigh(laplacian)
  decay = jnp.exp(-values[..., None] * _row(HEAT_TIMES, 3))
  heat = jnp.einsum(
    'bik,bkh,bjk->bijh', vectors, decay, vectors, precision='highest'
  )
  heat = jnp.clip((heat + heat.swapaxes(1, 2)) / 2, 0.0, 1.0)
  missing = max(0, 1 + NUM_EIGENVALUES - values.shape[-1])
  values = jnp.pad(values, ((0, 0), (0, missing)), constant_values=ABSENT)
  values = jnp.where(values > (2 + ABSENT) / 2, 2.0, values)
  return values[:, 1 : 1 + NUM_EIGENVALUES], heat


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.matmul(a, b, precision='highest')


def _row(values: object, ndim: int) -> jax.Array:
  """[1, .., 1, len(values)]"""
  row = jnp.asarray(values, jnp.float32)
  return row.reshape((1,) * (ndim - 1) + (-1,))
