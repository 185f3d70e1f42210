"""Reports of a likelihood: means over examples, a table, a plot."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure


class Estimate(NamedTuple):
  """Mean over examples."""

  mean: float
  standard_error: float

  def __str__(self) -> str:
    return f'{self.mean:.4f} +- {self.standard_error:.4f}'


class Report(NamedTuple):
  """Bits per element of a data set: upper bounds, except for `ode`."""

  num_examples: int
  num_steps: int
  bins: int | None  # values of a datum; None: a density, or categories
  bound: Estimate  # L_T + sum_n L_n + L_0, in N steps
  prior: Estimate  # L_T
  steps: Estimate  # sum_n L_n
  data: Estimate  # L_0
  terms: list[Estimate]  # the L_n, or their sums over parts of the grid
  edges: list[float]  # the times between which each term lies, decreasing
  num_elements: int | None = None  # of categories, in all examples
  continuous: Estimate | None = None  # infinitely many steps
  ode: Estimate | None = None
  evaluations: float | None = None  # of the network for one ODE


def mean_of(values: np.ndarray, sizes: np.ndarray | None = None) -> Estimate:
  """Computes the mean per element and its standard error over examples.

  Examples are independent and count by their number of elements n_i. The error
  is that of a ratio, sqrt(N / (N - 1) sum_i (n_i (v_i - mean))^2) / sum_i n_i;
  of one example it is nan.

  Args:
    values: [N] per element.
    sizes: [N] numbers of elements; None: all alike.
  """
  num = len(values)
  if sizes is None:
    error = values.std(ddof=1) / np.sqrt(num) if num > 1 else np.nan
    return Estimate(float(values.mean()), float(error))
  values, sizes = values.astype(np.float64), sizes.astype(np.float64)
  total = sizes.sum()
  mean = (values * sizes).sum() / total
  if num < 2:
    return Estimate(float(mean), float('nan'))
  spread = np.square(sizes * (values - mean)).sum() * num / (num - 1)
  return Estimate(float(mean), float(np.sqrt(spread) / total))


def table(report: Report, element: str) -> str:
  """Formats the report."""
  r = report
  elements = f', {r.num_elements} {element}s' if r.num_elements else ''
  rows = [
    f'bits per {element} of {r.num_examples} examples{elements}, at most',
    f'  {r.num_steps:4d} steps           {r.bound}',
    f'    L_T  prior         {r.prior}',
    f'    L_n  steps         {r.steps}',
    f'    L_0  data          {r.data}',
  ]
  if r.continuous is not None:
    rows.insert(1, f'  continuous time      {r.continuous}')
  if r.ode is not None:
    rows.append(f'  ODE                  {r.ode}  ({r.evaluations:.0f} evals)')
  return '\n'.join(rows)


def plot(report: Report, element: str) -> Figure:
  """Plots the density of the bits over t, and their cumulative sum."""
  edges = np.asarray(report.edges)
  mean = np.array([term.mean for term in report.terms])
  error = np.array([term.standard_error for term in report.terms])
  middle, width = (edges[1:] + edges[:-1]) / 2, edges[:-1] - edges[1:]
  unit = f'bits per {element}'

  figure = Figure(figsize=(6, 5.5), layout='constrained')
  above, below = figure.subplots(2, 1, sharex=True)
  density, spread = mean / width, error / width
  above.plot(middle, density, lw=1.2)
  above.fill_between(
    middle, np.maximum(density - spread, 0), density + spread, alpha=0.3
  )
  above.set(yscale='log', ylabel=f'{unit} per unit of t')
  above.set_title(
    f'bound {report.bound} {unit}, {report.num_examples} examples', fontsize=10
  )
  total = report.prior.mean + np.concatenate([[0.0], np.cumsum(mean)])
  below.plot(edges, total, lw=1.2, label='L_T + terms from t = 1')
  below.plot([0.0], [report.bound.mean], 'o', ms=4, label='and L_0: the bound')
  if report.ode is not None:
    below.axhline(
      report.ode.mean, color='0.4', ls='--', lw=1, label='ODE likelihood'
    )
  below.set(xlabel='t', ylabel=unit)
  below.legend(frameon=False, fontsize=8)
  for axes in (above, below):
    axes.grid(alpha=0.25)
  return figure
