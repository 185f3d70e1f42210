"""How many bits per dimension a model needs for a test set.

Two answers for every example: the variational bound, by term, and the
likelihood of the probability-flow ODE. Each is a mean over examples with its
standard error. The noise that example i meets is a function of (seed, i): the
numbers do not depend on the batch size or the devices.
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

from jaxdiff import likelihood, parallel, processes
from jaxdiff.likelihood import ode, probability_flow
from jaxdiff.samplers import Denoiser
from jaxdiff.schedules import Schedule

Step = Callable[..., dict[str, Array]]


class Estimate(NamedTuple):
  """Over examples."""

  mean: float
  standard_error: float

  def __str__(self) -> str:
    return f'{self.mean:.4f} +- {self.standard_error:.4f}'


class Report(NamedTuple):
  """Bits/dim of a test set."""

  num_examples: int
  bins: int | None  # of the data; None: continuous
  bound: Estimate  # L_T + sum_n L_n + L_0
  prior: Estimate  # L_T
  steps: Estimate  # sum_n L_n
  data: Estimate  # L_0
  terms: list[Estimate]  # the L_n, or their sums over parts of the grid
  edges: list[float]  # the t between which each of these lies, decreasing
  ode: Estimate | None
  evaluations: float | None  # of the network for one ODE, with its divergence


def make_step(
  denoiser: Callable[[Any, Any], Denoiser],
  schedule: Schedule,
  times: ArrayLike,
  *,
  seed: int = 0,
  variance: str = 'small',
  num_terms: int | None = None,
  bins: int | None = 256,
  with_ode: bool = True,
  num_probes: int = 1,
  tolerance: float = 1e-4,
  t_min: float = 1e-5,
) -> Step:
  """Builds step(params, batch, axis_name=None) -> bits/dim of each example.

  Args:
    denoiser: (params, cond) -> E[x0 | xt].
    schedule: the noise levels.
    times: [N + 1] the bound's grid, decreasing to 0.
    seed: of all noise.
    variance: of the bound's reverse steps: 'small', 'large', or 'learned', for
      a denoiser that returns (E[x0 | xt], v).
    num_terms: None for all L_n; else how many, random (see
      `likelihood.variational_bound`).
    bins: 256 for 8-bit data at -1 + 2 k / 255, which is dequantised uniformly
      for the ODE; None for continuous data.
    with_ode: False leaves the ODE out.
    num_probes: of Hutchinson's estimate of the divergence.
    tolerance: of the ODE's adaptive steps, absolute and relative.
    t_min: where the ODE ends; it takes x0 for x there.

  Returns:
    The step; batch is {'x0': [B, ...], 'cond': ..., 'index': [B]}, the result
    {'prior': [B], 'steps': [B, K], 'data': [B]} and, with the ODE, {'ode':
    [B], 'evaluations': [B]}.
  """

  def step(
    params: Any, batch: Mapping[str, Any], axis_name: str | None = None
  ) -> dict[str, Array]:
    x0, key = batch['x0'], jax.random.key(seed)
    purpose = lambda n: jax.vmap(
      lambda i: jax.random.fold_in(jax.random.fold_in(key, i), n)
    )(batch['index'])
    bound_keys, probe_keys, bin_keys = purpose(0), purpose(1), purpose(2)
    denoise = denoiser(params, batch.get('cond', {}))
    bound = likelihood.variational_bound(
      processes.gaussian(schedule, variance, bins),
      denoise,
      bound_keys,
      x0,
      times,
      num_terms=num_terms,
    )
    mean = (lambda *at: denoise(*at)[0]) if variance == 'learned' else denoise
    result = bound._asdict()
    if with_ode:
      if bins is not None:
        dequantize = lambda key, x0: likelihood.dequantize(key, x0, bins)
        x0 = jax.vmap(dequantize)(bin_keys, x0)
      flow = probability_flow.log_likelihood(
        mean,
        schedule,
        probe_keys,
        x0,
        probability_flow.log_snr_grid(schedule, 1, t_min),
        divergence=probability_flow.hutchinson(num_probes),
        integrator=ode.dormand_prince(
          tolerance, tolerance, axis_name=axis_name
        ),
      )
      num_dims = int(np.prod(x0.shape[1:]))
      result['ode'] = likelihood.bits_per_dim(flow.log_density, num_dims, bins)
      result['evaluations'] = jnp.full(len(x0), flow.evaluations)
    return result

  return step


def evaluate(
  denoiser: Callable[[Any, Any], Denoiser],
  params: Any,
  schedule: Schedule,
  batches: Iterable[Mapping[str, Any]],
  times: ArrayLike,
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
  bins: int | None = 256,
  **options: Any,
) -> Report:
  """The report on all examples of `batches`, none dropped.

  Args:
    denoiser: (params, cond) -> E[x0 | xt].
    params: the weights, usually the average.
    schedule: the noise levels.
    batches: of {'x0': [B, ...] in [-1, 1], 'cond': {name: [B, ...]}}; the last
      may be smaller, and is filled up with copies that are not counted.
    times: [N + 1] the bound's grid, decreasing to 0.
    mesh: devices; all of them by default. One process.
    mode: 'jit' or 'pmap'.
    bins: as in `make_step`.
    **options: of `make_step`.

  Raises:
    ValueError: no examples; several processes; those of `make_step`.
  """
  step = make_step(denoiser, schedule, times, bins=bins, **options)
  values = collect(step, params, batches, mesh=mesh, mode=mode)
  return _report(values, np.asarray(times), bins)


def collect(
  step: Step,
  params: Any,
  batches: Iterable[Mapping[str, Any]],
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
) -> dict[str, np.ndarray]:
  """What `step` says of every example of `batches`, none dropped.

  Args:
    step: (params, batch, axis_name=None) -> {name: [B, ...]}; it finds the
      numbers of the examples in batch['index'].
    params: the weights.
    batches: trees of [B, ...]; the last may be smaller, and is filled up with
      copies that are not counted.
    mesh: devices; all of them by default. One process.
    mode: 'jit' or 'pmap'.

  Returns:
    {name: [N, ...]}.

  Raises:
    ValueError: no examples; several processes.
  """
  if jax.process_count() > 1:
    raise ValueError(
      'the likelihood is evaluated by one process, got '
      f'{jax.process_count()}: run it on one host'
    )
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


def _report(
  values: dict[str, np.ndarray], times: np.ndarray, bins: int | None
) -> Report:
  values = {name: x.astype(np.float64) for name, x in values.items()}
  prior, steps, data = (values[name] for name in ('prior', 'steps', 'data'))
  terms = [_estimate(term) for term in steps.T]
  # Part j of K covers the pairs from j (N - 1) / K on.
  position = np.linspace(0, len(times) - 2, len(terms) + 1)
  edges = np.interp(position, np.arange(len(times)), times)
  return Report(
    num_examples=len(prior),
    bins=bins,
    bound=_estimate(prior + steps.sum(axis=1) + data),
    prior=_estimate(prior),
    steps=_estimate(steps.sum(axis=1)),
    data=_estimate(data),
    terms=terms,
    edges=edges.tolist(),
    ode=_estimate(values['ode']) if 'ode' in values else None,
    evaluations=float(values['evaluations'].mean())
    if 'evaluations' in values
    else None,
  )


def _estimate(values: np.ndarray) -> Estimate:
  """Of one example the standard error is not known: nan."""
  num = len(values)
  error = values.std(ddof=1) / np.sqrt(num) if num > 1 else np.nan
  return Estimate(float(values.mean()), float(error))


def table(report: Report) -> str:
  """The report in lines of text, for people."""
  kind = 'continuous data' if report.bins is None else f'{report.bins} bins'
  rows = [
    f'bits/dim of {report.num_examples} examples, {kind}',
    f'  bound                {report.bound}',
    f'    L_T  prior         {report.prior}',
    f'    L_n  {len(report.terms):4d} terms    {report.steps}',
    f'    L_0  data          {report.data}',
  ]
  if report.ode is not None:
    named = 'none' if report.bins is None else 'uniform'
    rows.append(
      f'  ODE                  {report.ode}  (dequantisation: {named}; '
      f'{report.evaluations:.0f} evaluations)'
    )
  return '\n'.join(rows)


def plot(report: Report, path: str | os.PathLike[str]) -> None:
  """Draws where along t the bits are spent, a PNG.

  Above, bits/dim for each unit of t, so that terms of any width compare; below,
  the bound as it adds up from the prior at t = 1 to the data at t = 0.
  """
  edges = np.asarray(report.edges)
  mean = np.array([term.mean for term in report.terms])
  error = np.array([term.standard_error for term in report.terms])
  middle, width = (edges[1:] + edges[:-1]) / 2, edges[:-1] - edges[1:]

  figure = Figure(figsize=(6, 5.5), layout='constrained')
  above, below = figure.subplots(2, 1, sharex=True)
  density, spread = mean / width, error / width
  above.plot(middle, density, lw=1.2)
  above.fill_between(
    middle, np.maximum(density - spread, 0), density + spread, alpha=0.3
  )
  above.set_yscale('log')
  above.set_ylabel('bits/dim per unit of t')
  above.set_title(
    f'variational bound {report.bound} bits/dim, '
    f'{report.num_examples} examples',
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
  below.set_ylabel('bits/dim')
  below.legend(frameon=False, fontsize=8)
  for axes in (above, below):
    axes.grid(alpha=0.25)
  figure.savefig(path, dpi=130)
