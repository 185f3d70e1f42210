"""Likelihood of a data set under a model, in bits per element.

The variational bound by term, for every process; for Gaussian noise also the
likelihood of the probability-flow ODE, for categories the bound in continuous
time. Each is a mean over all elements of the set with its standard error. The
noise of example i is a function of (seed, i), whatever the batch size and the
devices. Where examples differ in size, the size is given, not modelled.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxdiff import files, guidance, likelihood, parallel
from jaxdiff.likelihood import ode, probability_flow
from jaxdiff.models import Model

Step = Callable[..., dict[str, Array]]


class Estimate(NamedTuple):
  """A mean over elements, examples being independent."""

  mean: float
  standard_error: float

  def __str__(self) -> str:
    return f'{self.mean:.4f} +- {self.standard_error:.4f}'


class Report(NamedTuple):
  """Bits per element of a data set; upper bounds, but for `ode`."""

  num_examples: int
  num_elements: int
  num_steps: int
  bins: int | None  # values of a datum; None: a density, or categories
  bound: Estimate  # prior + steps + data, of num_steps steps
  prior: Estimate  # L_T
  steps: Estimate  # sum_n L_n
  data: Estimate  # L_0
  terms: list[Estimate]  # the L_n, or their sums over parts of the grid
  edges: list[float]  # the t between which each of these lies, decreasing
  continuous: Estimate | None  # infinitely many steps
  ode: Estimate | None
  evaluations: float | None  # of the network for one ODE, with its divergence


def make_step(
  model: Model,
  times: ArrayLike,
  *,
  seed: int = 0,
  num_terms: int | None = None,
  with_ode: bool = True,
  num_probes: int = 1,
  tolerance: float = 1e-4,
  t_min: float = 1e-5,
) -> Step:
  """Builds step(params, batch, axis_name=None) -> {name: [B, ...]}.

  Args:
    model: from `models.make`.
    times: [N + 1] the grid of the bound, decreasing to 0.
    seed: of all noise.
    num_terms: random terms of the bound for each example; None for all.
    with_ode: False leaves the ODE out.
    num_probes: of Hutchinson's estimate of the divergence.
    tolerance: of the adaptive steps of the ODE, absolute and relative.
    t_min: where the ODE ends; x there stands for x0.

  Returns:
    The step; batch is {'x0': [B, ...], 'cond': ..., 'index': [B]} and 'mask'
    where examples differ in size. 'prior', 'data', 'elements' are [B], 'steps'
    [B, K], and 'continuous', or 'ode' and 'evaluations', [B].
  """
  draws = len(np.asarray(times)) - 1 if num_terms is None else num_terms

  def step(
    params: Any, batch: Mapping[str, Any], axis_name: str | None = None
  ) -> dict[str, Array]:
    x0, mask, key = batch['x0'], batch.get('mask'), jax.random.key(seed)
    keys = lambda n: jax.vmap(
      lambda i: jax.random.fold_in(jax.random.fold_in(key, i), n)
    )(batch['index'])
    cond = dict(batch.get('cond', {}))
    if mask is not None:
      cond['mask'] = mask
    cond = model.encode(params, cond)
    estimator = model.estimator(params, cond)
    bound = likelihood.variational_bound(
      model.process,
      estimator,
      keys(0),
      x0,
      times,
      mask=mask,
      num_terms=num_terms,
    )
    elements = likelihood.elements(model.process, x0, mask)
    result = {**bound._asdict(), 'elements': elements}
    if model.schedule is None:
      limit = likelihood.continuous_bound(
        model.process, estimator, keys(1), x0, mask=mask, num_terms=draws
      )
      result['continuous'] = limit.prior + limit.steps.sum(axis=1)
    elif with_ode:
      result |= flow(params, cond, keys, x0, axis_name)
    return result

  def flow(
    params: Any, cond: Any, keys: Any, x0: Array, axis_name: str | None
  ) -> dict[str, Array]:
    bins = model.bins
    mean = model.denoiser(params, cond)
    if bins is not None:
      mean = guidance.clip(mean)
      dequantize = lambda key, x0: likelihood.dequantize(key, x0, bins)
      x0 = jax.vmap(dequantize)(keys(2), x0)
    found = probability_flow.log_likelihood(
      mean,
      model.schedule,
      keys(1),
      x0,
      probability_flow.log_snr_grid(model.schedule, 1, t_min),
      divergence=probability_flow.hutchinson(num_probes),
      integrator=ode.dormand_prince(tolerance, tolerance, axis_name=axis_name),
    )
    num_dims = int(np.prod(x0.shape[1:]))
    return {
      'ode': likelihood.bits_per_dim(found.log_density, num_dims, bins),
      'evaluations': jnp.full(len(x0), found.evaluations),
    }

  return step


def evaluate(
  model: Model,
  params: Any,
  batches: Iterable[Mapping[str, Any]],
  times: ArrayLike,
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
  **options: Any,
) -> Report:
  """Computes the report on all examples of `batches`, none dropped.

  Args:
    model: from `models.make`.
    params: the weights, usually the average.
    batches: of {'x0', 'cond', and 'mask' where examples differ in size}; the
      last may be smaller, and is filled up with copies that are not counted.
    times: [N + 1] the grid of the bound, decreasing to 0.
    mesh: devices; all of them by default. One process.
    mode: 'jit' or 'pmap'.
    **options: of `make_step`.

  Raises:
    ValueError: no examples; several processes.
  """
  step = make_step(model, times, **options)
  values = collect(step, params, batches, mesh=mesh, mode=mode)
  return _report(values, np.asarray(times), model.bins)


def collect(
  step: Step,
  params: Any,
  batches: Iterable[Mapping[str, Any]],
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
) -> dict[str, np.ndarray]:
  """Runs `step` on every example of `batches`: {name: [N, ...]}.

  Args:
    step: (params, batch, axis_name=None) -> {name: [B, ...]}; batch['index']
      has the numbers of the examples.
    params: the weights.
    batches: trees of [B, ...]; the last may be smaller.
    mesh: devices; all of them by default. One process.
    mode: 'jit' or 'pmap'.

  Raises:
    ValueError: no examples; several processes.
  """
  if parallel.process()[1] > 1:
    raise ValueError('the likelihood is evaluated by one process, on one host')
  mesh = mesh or parallel.make_mesh()
  step = parallel.compile_step(
    step, mesh, mode=mode, in_axes=(None, 0), out_axes=0
  )
  parts, seen, size = [], 0, mesh.size
  for batch in batches:
    batch = jax.tree.map(np.asarray, dict(batch))
    num = len(jax.tree.leaves(batch)[0])
    batch['index'] = np.arange(seen, seen + num)
    # One size for all batches, which the devices can share: one compilation.
    size = max(size, -(-num // mesh.size) * mesh.size)
    fill = lambda x, num=num, size=size: np.pad(
      x, [(0, size - num)] + [(0, 0)] * (x.ndim - 1), mode='edge'
    )
    result = step(params, jax.tree.map(fill, batch))
    parts.append({name: np.asarray(x)[:num] for name, x in result.items()})
    seen += num
  if not seen:
    raise ValueError('there are no examples to evaluate')
  return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def estimate(values: np.ndarray, elements: np.ndarray) -> Estimate:
  """Computes the mean of values [N] over all elements, [N] of each example.

  The standard error is that of a ratio: sqrt(N / (N - 1) sum_i (n_i (v_i -
  mean))^2) / sum_i n_i; nan for one example.
  """
  values, elements = values.astype(np.float64), elements.astype(np.float64)
  num, total = len(values), elements.sum()
  if (elements == elements[0]).all():
    error = values.std(ddof=1) / np.sqrt(num) if num > 1 else np.nan
    return Estimate(float(values.mean()), float(error))
  mean = (values * elements).sum() / total
  if num < 2:
    return Estimate(float(mean), float('nan'))
  spread = np.square(elements * (values - mean)).sum() * num / (num - 1)
  return Estimate(float(mean), float(np.sqrt(spread) / total))


def _report(
  values: dict[str, np.ndarray], times: np.ndarray, bins: int | None
) -> Report:
  values = {name: x.astype(np.float64) for name, x in values.items()}
  elements = values['elements']
  prior, steps, data = (values[name] for name in ('prior', 'steps', 'data'))
  mean = lambda x: estimate(x, elements)
  optional = lambda name: mean(values[name]) if name in values else None
  # Part j of K covers the pairs from j (N - 1) / K on.
  position = np.linspace(0, len(times) - 2, steps.shape[1] + 1)
  edges = np.interp(position, np.arange(len(times)), times)
  return Report(
    num_examples=len(prior),
    num_elements=int(elements.sum()),
    num_steps=len(times) - 1,
    bins=bins,
    bound=mean(prior + steps.sum(axis=1) + data),
    prior=mean(prior),
    steps=mean(steps.sum(axis=1)),
    data=mean(data),
    terms=[mean(term) for term in steps.T],
    edges=edges.tolist(),
    continuous=optional('continuous'),
    ode=optional('ode'),
    evaluations=float(values['evaluations'].mean())
    if 'evaluations' in values
    else None,
  )


def table(report: Report, element: str) -> str:
  """Returns the report in lines of text."""
  kind = '' if report.bins is None else f', {report.bins} bins'
  rows = [
    f'bits per {element} of {report.num_examples} examples, '
    f'{report.num_elements} {element}s{kind}, at most'
  ]
  if report.continuous is not None:
    rows.append(f'  continuous time      {report.continuous}')
  rows += [
    f'  {report.num_steps:4d} steps           {report.bound}',
    f'    L_T  prior         {report.prior}',
    f'    L_n  {len(report.terms):4d} terms    {report.steps}',
    f'    L_0  data          {report.data}',
  ]
  if report.ode is not None:
    dequantisation = 'none' if report.bins is None else 'uniform'
    rows.append(
      f'  ODE                  {report.ode}  (dequantisation: '
      f'{dequantisation}; {report.evaluations:.0f} evaluations)'
    )
  return '\n'.join(rows)


def plot(report: Report, path: str | os.PathLike[str], element: str) -> None:
  """Draws where along t the bits are spent, a PNG.

  Above, bits for each unit of t, so that terms of any width compare; below, the
  bound as it adds up from the prior at t = 1 to the data at t = 0.
  """
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
  above.set_yscale('log')
  above.set_ylabel(f'{unit} per unit of t')
  above.set_title(
    f'variational bound {report.bound} {unit}, {report.num_examples} examples',
    fontsize=10,
  )
  adding = report.prior.mean + np.concatenate([[0.0], np.cumsum(mean)])
  below.plot(edges, adding, lw=1.2, label='L_T + terms from t = 1')
  below.plot([0.0], [report.bound.mean], 'o', ms=4, label='and L_0: the bound')
  if report.ode is not None:
    below.axhline(
      report.ode.mean, color='0.4', ls='--', lw=1, label='ODE likelihood'
    )
  below.set_xlabel('t')
  below.set_ylabel(unit)
  below.legend(frameon=False, fontsize=8)
  for axes in (above, below):
    axes.grid(alpha=0.25)
  files.save(path, lambda file: figure.savefig(file, dpi=130))
