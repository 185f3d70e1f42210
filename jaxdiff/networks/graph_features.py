"""Features of a graph for a network: cycles, components, spectrum.

Attention over nodes that are alike counts no cycles and sees no distances.
Features from the adjacency A (symmetric, no loops) add them:

  cycles    numbers of length 3, 4, 5 through a node, of 3 to 6 in all, by
            closed forms in the powers of A
  parts     the connected components, by squaring A + I until nothing changes
  spectrum  the smallest eigenvalues of L = I - D^-1/2 A D^-1/2, and the heat
            kernels exp(-tau L) = U exp(-tau lambda) U^T
  walks     the probabilities of random walks, an option beside the others

Eigenvectors have no sign, and within an eigenspace no direction. The heat
kernel is the same for every basis, so permuting the nodes permutes every
feature. Nodes that do not exist have no edges and get zeros; nothing depends on
their number.

Matrix products have the full precision of float32: the counts are differences
of large numbers.

Source: DiGress (Vignac et al. 2023) section 5 and appendix B, with eigenvectors
where heat kernels are here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

NUM_EIGENVALUES = 5
HEAT_TIMES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
ABSENT = 3.0  # an eigenvalue above those of L, which are at most 2


class Features(NamedTuple):
  """Float32 numbers of order 1."""

  nodes: Array  # [B, N, F]
  edges: Array  # [B, N, N, F'], symmetric
  graph: Array  # [B, F'']


def features(adjacency: Array, exists: Array) -> Features:
  """Computes all features.

  Counts c become log(1 + c) / k, k the length of what is counted: of the order
  of the logarithm of a degree, whatever the size of the graph.

  Args:
    adjacency: Bool [B, N, N], symmetric; false on the diagonal and where a node
      does not exist.
    exists: Bool [B, N], which nodes exist.
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
      # Flat near 0, where the kernel is nothing but rounding.
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


def walks(adjacency: Array, exists: Array, num: int) -> tuple[Array, Array]:
  """Computes the probabilities of random walks, by the powers of M = D^-1 A.

  Args:
    adjacency, exists: as in `features`.
    num: of powers, from M^0.

  Returns:
    To come back to a node, the diagonals [B, N, num]; to get from one node to
    the other, the mean of both ways [B, N, N, num]. Float32, in [0, 1].

  Source: GRIT (Ma et al. 2023, arXiv:2305.17589) equation 1, RRWP; in discrete
  diffusion DeFoG (Qin et al. 2024, arXiv:2410.04263).
  """
  a = adjacency.astype(jnp.float32)
  once = a / jnp.maximum(a.sum(-1, keepdims=True), 1.0)
  power = jnp.eye(a.shape[-1])[None] * exists[:, :, None]
  powers = []
  for _ in range(num):
    powers.append(power)
    power = _product(power, once)
  edges = jnp.stack([(m + m.swapaxes(1, 2)) / 2 for m in powers], -1)
  return jnp.diagonal(edges, axis1=1, axis2=2).swapaxes(1, 2), edges


def cycles(a: Array) -> tuple[Array, Array]:
  """Counts cycles: closed walks, without those that are no cycles.

  With d the degrees, t = diag(A^3), T = A . A^2 (element by element):

    c3 = t / 2
    c4 = (diag(A^4) - d^2 - A d + d) / 2
    c5 = (diag(A^5) - 2 d t - 2 T d - A t + 5 t) / 2

  at each node: a closed walk of 3, 4 or 5 steps that is no cycle goes back and
  forth along an edge. For length 6 only the total is so simple. Exact while the
  powers of A fit in float32's 24 bits; beyond that the counts are rounded, and
  at least 0.

  Args:
    a: Adjacency [B, N, N], float32 zeros and ones.

  Returns:
    Numbers through each node [B, N, 3], of length 3, 4, 5; totals [B, 4], of
    length 3 to 6.

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


def connected(a: Array) -> Array:
  """Finds the pairs of nodes that a path joins, float32 [B, N, N], 1 on the
  diagonal."""
  reach = jnp.minimum(a + jnp.eye(a.shape[-1])[None], 1.0)
  for _ in range(max(1, (a.shape[-1] - 1).bit_length())):
    reach = jnp.minimum(_product(reach, reach), 1.0)
  return reach


def spectrum(a: Array, exists: Array) -> tuple[Array, Array]:
  """Computes small eigenvalues and heat kernels of the normalised Laplacian.

  An isolated node has L = 0, so there are as many eigenvalues 0 as components.
  Eigenvalues that a small graph lacks count as 2, the largest possible.

  Args:
    a: Adjacency [B, N, N], float32.
    exists: Bool [B, N].

  Returns:
    The NUM_EIGENVALUES smallest eigenvalues after the first, [B, K]; the heat
    kernels at HEAT_TIMES [B, N, N, H], in [0, 1].
  """
  degree = a.sum(-1)
  scale = jnp.where(degree > 0, jax.lax.rsqrt(jnp.maximum(degree, 1.0)), 0.0)
  # Nodes that do not exist are an eigenspace of their own, after all others.
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


def _product(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b, precision='highest')


def _row(values: object, ndim: int) -> Array:
  """[1, .., 1, len(values)]"""
  row = jnp.asarray(values, jnp.float32)
  return row.reshape((1,) * (ndim - 1) + (-1,))
