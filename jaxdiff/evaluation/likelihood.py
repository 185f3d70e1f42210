"""Likelihood of a data set under a model, in bits per element.

The variational bound in N steps, by term; for real numbers also the likelihood
of the probability-flow ODE, for categories the bound in continuous time. The
noise of example i is a function of (seed, i), so the numbers do not depend on
the batch size or the devices.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxdiff import likelihood, parallel
from jaxdiff.evaluation.bits import Report, mean_of
from jaxdiff.evaluation.features import concatenate
from jaxdiff.likelihood import ode, probability_flow
from jaxdiff.models import Model
from jaxdiff.parallel.batches import over_batches

Step = Callable[..., dict[str, Array]]
TOLERANCE = 1e-4  # of the ODE's adaptive steps, absolute and relative
T_MIN = 1e-5  # where the ODE ends; it takes x0 for x there


def make_step(
  model: Model,
  times: ArrayLike,
  *,
  seed: int = 0,
  num_terms: int | None = None,
  with_ode: bool = True,
) -> Step:
  """Builds step(params, batch, axis_name=None) -> {name: [B, ...]}.

  Args:
    model: From `models.make`.
    times: [N + 1] grid of the bound, decreasing to 0.
    seed: Of all noise.
    num_terms: None for all L_n, or the number of random ones; see
      `likelihood.variational_bound`.
    with_ode: For real numbers: the likelihood of the ODE, too.

  Returns:
    The step, from {'x0': [B, ...], 'cond', 'index': [B]} and 'mask' where
    examples differ in size, to 'prior', 'data' [B], 'steps' [B, K], and 'ode',
    'evaluations', or 'continuous', 'elements' [B].
  """

  def step(
    params: Any, batch: Mapping[str, Any], axis_name: str | None = None
  ) -> dict[str, Array]:
    x0, mask, key = batch['x0'], batch.get('mask'), jax.random.key(seed)
    purpose = lambda n: jax.vmap(
      lambda i: jax.random.fold_in(jax.random.fold_in(key, i), n)
    )(batch['index'])
    cond = dict(batch.get('cond', {}))
    if mask is not None:
      cond['mask'] = mask
    if model.block is not None:
      cond['past'] = x0
    estimator = model.estimator(params, model.encode(params, cond))
    bound = likelihood.variational_bound(
      model.process,
      estimator,
      purpose(0),
      x0,
      times,
      mask=mask,
      num_terms=num_terms,
    )
    result = bound._asdict()
    if model.schedule is None:
      limit = likelihood.continuous_bound(
        model.process,
        estimator,
        purpose(1),
        x0,
        mask=mask,
        num_terms=num_terms or len(np.asarray(times)) - 1,
      )
      return {
        **result,
        'steps': bound.steps.sum(axis=1, keepdims=True),
        'continuous': limit.total,
        'elements': likelihood.elements(model.process, x0, mask),
      }
    if with_ode:
      # The mean, of an estimate that has a variance too.
      mean = lambda *at: jax.tree.leaves(estimator(*at))[0]
      result |= flow(mean, purpose(1), purpose(2), x0, axis_name)
    return result

  def flow(
    mean: Any, keys: Array, bin_keys: Array, x0: Array, axis_name: str | None
  ) -> dict[str, Array]:
    if model.bins is not None:
      dequantize = lambda key, x0: likelihood.dequantize(key, x0, model.bins)
      x0 = jax.vmap(dequantize)(bin_keys, x0)
    found = probability_flow.log_likelihood(
      mean,
      model.schedule,
      keys,
      x0,
      probability_flow.log_snr_grid(model.schedule, 1, T_MIN),
      divergence=probability_flow.hutchinson(1),
      integrator=ode.dormand_prince(TOLERANCE, TOLERANCE, axis_name=axis_name),
    )
    dims = int(np.prod(x0.shape[1:]))
    return {
      'ode': likelihood.bits_per_dim(found.log_density, dims, model.bins),
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
  """Computes the report on all examples.

  Args:
    model: From `models.make`.
    params: The weights.
    batches: {'x0', 'cond'}, and 'mask' where examples differ in size.
    times: [N + 1] grid of the bound, decreasing to 0.
    mesh, mode: As in `parallel.batches.over_batches`.
    **options: Of `make_step`.
  """
  if parallel.process()[1] > 1:
    raise ValueError('the likelihood is evaluated by one process, on one host')
  step = make_step(model, times, **options)
  run = over_batches(step, params, mesh=mesh, mode=mode)
  values = concatenate(run(_numbered(batches)))
  sizes = values.get('elements')
  # Sums of numbers are float64; `mean_of` converts categories.
  if sizes is None:
    values = {name: x.astype(np.float64) for name, x in values.items()}
  prior, steps, data = (values[name] for name in ('prior', 'steps', 'data'))
  total, times = steps.sum(axis=1), np.asarray(times)
  # Part j of K covers the pairs from j (N - 1) / K on.
  position = np.linspace(0, len(times) - 2, steps.shape[1] + 1)
  mean = lambda x: mean_of(x, sizes)
  optional = {k: mean(values[k]) for k in ('continuous', 'ode') if k in values}
  if 'ode' in values:
    optional['evaluations'] = float(values['evaluations'].mean())
  if sizes is not None:
    optional['num_elements'] = int(sizes.sum())
  return Report(
    num_examples=len(prior),
    num_steps=len(times) - 1,
    bins=model.bins,
    bound=mean(prior + total + data),
    prior=mean(prior),
    steps=mean(total),
    data=mean(data),
    terms=[mean(term) for term in steps.T],
    edges=np.interp(position, np.arange(len(times)), times).tolist(),
    **optional,
  )


def _numbered(
  batches: Iterable[Mapping[str, Any]],
) -> Iterator[Mapping[str, Any]]:
  """Adds the numbers of the examples as batch['index']."""
  seen = 0
  for batch in batches:
    batch = jax.tree.map(np.asarray, dict(batch))
    num = len(jax.tree.leaves(batch)[0])
    yield {**batch, 'index': np.arange(seen, seen + num)}
    seen += num
