"""Maximum mean discrepancy of two sets of graphs, by statistics of each graph.

A graph becomes a vector: its histogram of degrees, of clustering coefficients
(100 bins over [0, 1]), of eigenvalues of the normalised Laplacian (200 bins
over [0, 2]), or its mean count of each of the 15 orbits. Histograms sum to 1.

  MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)
  k(x, y) = exp(-TV(x, y)^2 / (2 sigma^2)),  TV = |x - y|_1 / 2

with sigma 1, but 0.1 for clustering and 30 for orbits. The means are over all
pairs, a graph with itself included: the V-statistic, biased upwards by about
(1 - mean k)(1 / n + 1 / m) for sets of n and m of one distribution. So a value
says little without the floor, that of the training set against the test set.

Source: GRAN (Liao et al. 2019) for the kernel, SPECTRE (Martinkus et al. 2022)
for the spectrum, with the constants of their code, which DiGress took. This
kernel is not positive definite in general (O'Bray et al. 2022).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import networkx as nx
import numpy as np

from jaxdiff.evaluation.graphs.orbits import orbit_counts


class Statistic(NamedTuple):
  """A vector of a graph, and the kernel's width for it."""

  describe: Callable[[nx.Graph], np.ndarray]
  sigma: float


def degrees(graph: nx.Graph) -> np.ndarray:
  """Computes the fraction of nodes of each degree, [largest degree + 1]."""
  return _normalised(np.bincount([d for _, d in graph.degree]))


def clustering(graph: nx.Graph) -> np.ndarray:
  """Computes the histogram of clustering coefficients, [100]."""
  values = list(nx.clustering(graph).values())
  return _normalised(np.histogram(values, 100, (0.0, 1.0))[0])


def spectrum(graph: nx.Graph) -> np.ndarray:
  """Computes the histogram of the normalised Laplacian's eigenvalues, [200]."""
  a = nx.to_numpy_array(graph, weight=None)
  degree = a.sum(1)
  scale = np.divide(1, np.sqrt(degree), where=degree > 0, out=np.zeros(len(a)))
  laplacian = np.diag((degree > 0) * 1.0) - scale[:, None] * a * scale
  values = np.clip(np.linalg.eigvalsh(laplacian), 0.0, 2.0)
  # 0 is an eigenvalue always, and rounding must not decide its bin.
  return _normalised(np.histogram(values, 200, (-1e-5, 2.0))[0])


def orbits(graph: nx.Graph) -> np.ndarray:
  """Computes the mean count of each orbit over the nodes, [15]."""
  return orbit_counts(graph).mean(0)


STATISTICS = {
  'degree': Statistic(degrees, 1.0),
  'clustering': Statistic(clustering, 0.1),
  'orbits': Statistic(orbits, 30.0),
  'spectrum': Statistic(spectrum, 1.0),
}
Described = dict[str, list[np.ndarray]]


def describe(graphs: Sequence[nx.Graph]) -> Described:
  """Computes every statistic of every graph that has nodes."""
  some = [graph for graph in graphs if len(graph)]
  return {
    name: [statistic.describe(graph) for graph in some]
    for name, statistic in STATISTICS.items()
  }


def all_mmd2(xs: Described, ys: Described) -> dict[str, float]:
  """Computes MMD^2 by each statistic, of two results of `describe`."""
  return {k: mmd2(xs[k], ys[k], s.sigma) for k, s in STATISTICS.items()}


def mmd2(
  xs: Sequence[np.ndarray], ys: Sequence[np.ndarray], sigma: float
) -> float:
  """Computes MMD^2 of vectors; shorter ones are padded with 0."""
  x, y = padded(xs, ys)

  def mean(u: np.ndarray, v: np.ndarray) -> float:
    # Row by row: all differences at once would be n m size numbers.
    distance = np.stack([np.abs(row - v).sum(1) / 2 for row in u])
    return float(np.exp(-(distance**2) / (2 * sigma**2)).mean())

  return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def padded(
  xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
  """Stacks vectors of two sets, [N, D] and [M, D]; shorter ones end in 0."""
  if not len(xs) or not len(ys):
    raise ValueError(f'both sets need graphs, got {len(xs)} and {len(ys)}')
  size = max(len(v) for v in (*xs, *ys))
  pad = lambda vs: np.stack([np.pad(v, (0, size - len(v))) for v in vs])
  return pad(xs).astype(np.float64), pad(ys).astype(np.float64)


def _normalised(counts: np.ndarray) -> np.ndarray:
  return counts / counts.sum()
