"""How many bits per character, pixel or edge a model of categories needs.

The bound in continuous time and that of a chain of N steps, each a mean over
all elements of the set: examples of different length count by theirs. Where
the length of an example varies it is given, not modelled. The noise that
example i meets is a function of (seed, i).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxdiff import likelihood
from jaxdiff.evaluation.likelihood import Estimate, Step, collect
from jaxdiff.processes import Process
from jaxdiff.samplers import Denoiser


class Report(NamedTuple):
  """Bits per element of a test set, upper bounds."""

  num_examples: int
  num_elements: int
  continuous: Estimate  # infinitely many steps
  bound: Estimate  # N steps: prior + steps + data
  prior: Estimate
  steps: Estimate
  data: Estimate
  num_steps: int


def make_step(
  denoiser: Callable[[Any, Any], Denoiser],
  process: Process,
  times: ArrayLike,
  *,
  seed: int = 0,
  num_terms: int | None = 32,
) -> Step:
  """Builds step(params, batch, axis_name=None) -> {name: [B]}.

  Args:
    denoiser: (params, cond) -> logits; cond has 'mask' where examples differ in
      size.
    process: the noise.
    times: [N + 1] of the chain, decreasing to 0.
    seed: of all noise.
    num_terms: draws of t for each example, of either bound; None: every step
      of the chain, and as many draws in continuous time.
  """
  draws = len(np.asarray(times)) - 1 if num_terms is None else num_terms

  def step(
    params: Any, batch: Mapping[str, Any], axis_name: str | None = None
  ) -> dict[str, Array]:
    del axis_name  # each example is its own
    x0, mask, key = batch['x0'], batch.get('mask'), jax.random.key(seed)
    purpose = lambda n: jax.vmap(
      lambda i: jax.random.fold_in(jax.random.fold_in(key, i), n)
    )(batch['index'])
    cond = dict(batch.get('cond', {}))
    if mask is not None:
      cond['mask'] = mask
    denoise = denoiser(params, cond)
    chain = likelihood.variational_bound(
      process, denoise, purpose(0), x0, times, mask=mask, num_terms=num_terms
    )
    limit = likelihood.continuous_bound(
      process, denoise, purpose(1), x0, mask=mask, num_terms=draws
    )
    return {
      'prior': chain.prior,
      'steps': chain.steps.sum(axis=1),
      'data': chain.data,
      'continuous': limit.prior + limit.steps.sum(axis=1),
      'elements': likelihood.elements(process, x0, mask),
    }

  return step


def evaluate(
  denoiser: Callable[[Any, Any], Denoiser],
  params: Any,
  process: Process,
  batches: Iterable[Mapping[str, Any]],
  times: ArrayLike,
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
  **options: Any,
) -> Report:
  """The report on all examples of `batches`, none dropped.

  Args:
    denoiser: (params, cond) -> logits.
    params: the weights, usually the average.
    process: the noise.
    batches: of {'x0', 'cond', and 'mask' where examples differ in size}.
    times: [N + 1] of the chain, decreasing to 0.
    mesh: devices; all of them by default. One process.
    mode: 'jit' or 'pmap'.
    **options: of `make_step`.
  """
  step = make_step(denoiser, process, times, **options)
  values = collect(step, params, batches, mesh=mesh, mode=mode)
  elements = values['elements'].astype(np.float64)
  parts = [values[name] for name in ('prior', 'steps', 'data')]
  return Report(
    num_examples=len(elements),
    num_elements=int(elements.sum()),
    continuous=ratio(values['continuous'], elements),
    bound=ratio(sum(parts), elements),
    prior=ratio(parts[0], elements),
    steps=ratio(parts[1], elements),
    data=ratio(parts[2], elements),
    num_steps=len(np.asarray(times)) - 1,
  )


def ratio(values: np.ndarray, elements: np.ndarray) -> Estimate:
  """The mean of values per element over all elements, examples independent.

  Its standard error is that of a ratio: sqrt(N / (N - 1) sum_i (n_i (v_i -
  mean))^2) / sum_i n_i; nan of one example.
  """
  values, elements = values.astype(np.float64), elements.astype(np.float64)
  num, total = len(values), elements.sum()
  mean = (values * elements).sum() / total
  if num < 2:
    return Estimate(float(mean), float('nan'))
  spread = np.square(elements * (values - mean)).sum() * num / (num - 1)
  return Estimate(float(mean), float(np.sqrt(spread) / total))


def table(report: Report, element: str) -> str:
  """The report in lines of text, for people."""
  return '\n'.join(
    [
      f'bits per {element} of {report.num_examples} examples, '
      f'{report.num_elements} {element}s, at most',
      f'  continuous time      {report.continuous}',
      f'  {report.num_steps:4d} steps           {report.bound}',
      f'    prior              {report.prior}',
      f'    steps              {report.steps}',
      f'    data               {report.data}',
    ]
  )
