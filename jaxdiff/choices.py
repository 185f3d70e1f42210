"""What the names in a configuration stand for.

A new schedule, sampler or threshold is one new line in one of these. A name
may carry arguments, as in a call: 'unipc(order=3)', 've(0.01, 348)'; `make`
reads it.
"""

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdiff import (
  guidance,
  losses,
  predictions,
  processes,
  samplers,
  schedules,
)
from jaxdiff.losses import time_sampling, weightings
from jaxdiff.schedules import Schedule

SCHEDULES: dict[str, Callable[..., Schedule]] = {
  'cosine': schedules.cosine,
  'linear_vp': schedules.linear_vp,
  'sub_vp': schedules.sub_vp,
  've': schedules.ve,
  'edm': schedules.edm,
  'rectified_flow': schedules.rectified_flow,
  'laplace': schedules.laplace,
}

# (number of steps, ...) -> betas, of which `schedules.from_betas` makes one.
TABLES: dict[str, Callable[..., np.ndarray]] = {
  'linear_betas': schedules.linear_betas,
  'scaled_linear_betas': schedules.scaled_linear_betas,
  'cosine_betas': schedules.cosine_betas,
  'sigmoid_betas': schedules.sigmoid_betas,
}

PREDICTIONS: dict[str, Callable[..., predictions.Kind]] = {
  'x0': lambda: predictions.x0,
  'eps': lambda: predictions.eps,
  'v': lambda: predictions.v,
  'velocity': lambda: predictions.velocity,
  'score': lambda: predictions.score,
  'edm': predictions.edm,
}

WEIGHTINGS: dict[str, Callable[..., weightings.Weighting]] = {
  'x0': lambda: weightings.x0,
  'simple': lambda: weightings.simple,
  'v': lambda: weightings.v,
  'velocity': lambda: weightings.velocity,
  'truncated_snr': lambda: weightings.truncated_snr,
  'min_snr': weightings.min_snr,
  'p2': weightings.p2,
  'sigmoid': weightings.sigmoid,
  'edm': weightings.edm,
}

ERRORS: dict[str, Callable[..., Callable[[Any], Any]]] = {
  'square': lambda: jnp.square,
  'abs': lambda: jnp.abs,
  'huber': losses.huber,
  'pseudo_huber': losses.pseudo_huber,
}

# (schedule, number of steps, ...) -> where training looks
TIMES: dict[str, Callable[..., time_sampling.Times]] = {
  'continuous': lambda schedule, num_steps, t_min=0.0: time_sampling.continuous(
    t_min
  ),
  'grid': lambda schedule, num_steps: time_sampling.grid(num_steps),
  'logit_normal': lambda schedule, num_steps, mean=0.0, std=1.0: (
    time_sampling.logit_normal(mean, std)
  ),
  'log_normal': lambda schedule, num_steps, mean=-1.2, std=1.2: (
    time_sampling.log_normal(schedule, mean, std)
  ),
}

POSITIONS: dict[str, time_sampling.Positions] = {
  'independent': time_sampling.independent,
  'stratified': time_sampling.stratified,
  'antithetic': time_sampling.antithetic,
}


class Solving(NamedTuple):
  """What a sampler may depend on."""

  schedule: Schedule
  variance: str
  eta: Any
  steps: int


def _ancestral(c: Solving) -> samplers.Step:
  return samplers.ancestral(processes.gaussian(c.schedule, c.variance))


def _edm_stochastic(
  c: Solving,
  s_churn: float = 40.0,
  s_min: float = 0.05,
  s_max: float = 50.0,
  s_noise: float = 1.003,
) -> samplers.Step:
  return samplers.edm_stochastic(
    c.schedule, c.steps, s_churn, s_min, s_max, s_noise
  )


# (Solving, ...) -> Step or Solver
SAMPLERS: dict[str, Callable[..., samplers.Step | samplers.Solver]] = {
  'ancestral': _ancestral,
  'ddim': lambda c: samplers.ddim(c.schedule, c.eta),
  'dpmpp_2m': lambda c: samplers.dpmpp_2m(c.schedule),
  'dpmpp_2s': lambda c: samplers.dpmpp_2s(c.schedule),
  'dpmpp_3m': lambda c: samplers.dpmpp_3m(c.schedule),
  'dpmpp_sde_2m': lambda c: samplers.dpmpp_sde_2m(c.schedule, c.eta),
  'edm_stochastic': _edm_stochastic,
  'euler': lambda c: samplers.euler(c.schedule),
  'euler_maruyama': lambda c: samplers.euler_maruyama(c.schedule),
  'heun': lambda c: samplers.heun(c.schedule),
  'plms': lambda c: samplers.plms(c.schedule),
  'pndm': lambda c: samplers.pndm(c.schedule),
  'predictor_corrector': lambda c, num=1, snr=0.16: (
    samplers.predictor_corrector(_ancestral(c), c.schedule, num, snr)
  ),
  'rk4': lambda c: samplers.rk4(c.schedule),
  'unipc': lambda c, order=2: samplers.unipc(c.schedule, order),
}

# (number of steps, schedule, ...) -> decreasing times
GRIDS: dict[str, Callable[..., np.ndarray]] = {
  'uniform': lambda steps, schedule: samplers.uniform_times(steps),
  'quadratic': lambda steps, schedule: samplers.quadratic_times(steps),
  'karras': samplers.karras_times,
  'log_snr': samplers.log_snr_times,
  'trailing': lambda steps, schedule, table_steps=1000: samplers.trailing_times(
    steps, table_steps
  ),
  'leading': lambda steps, schedule, table_steps=1000, offset=0, last=0: (
    samplers.leading_times(steps, table_steps, offset, last)
  ),
}

# (denoiser, ...) -> denoiser
THRESHOLDS: dict[str, Callable[..., samplers.Denoiser]] = {
  'none': lambda denoiser: denoiser,
  'clip': guidance.clip,
  'dynamic': guidance.dynamic_threshold,
}

# (with the condition, without, scale, ...) -> denoiser
GUIDANCE: dict[str, Callable[..., samplers.Denoiser]] = {
  'classifier_free': guidance.classifier_free,
  'apg': guidance.apg,
}


def pick(choices: Mapping[str, Any], name: str, what: str) -> Any:
  """choices[name], or a ValueError that lists them."""
  if name not in choices:
    raise ValueError(f'{what} must be one of {sorted(choices)}, got {name!r}')
  return choices[name]


def make(
  choices: Mapping[str, Callable[..., Any]], text: str, what: str, *first: Any
) -> Any:
  """What 'name' or 'name(1, key=2)' stands for: choices[name](*first, ...).

  Args:
    choices: name -> factory.
    text: the name, and its arguments if it has any: literals.
    what: what an error calls it.
    *first: arguments that come before those of the text.

  Raises:
    ValueError: unknown name, or arguments that it does not take.
  """
  name, args, kwargs = _parse(text, what)
  factory = pick(choices, name, what)
  try:
    bound = inspect.signature(factory).bind(*first, *args, **kwargs)
    return factory(*bound.args, **bound.kwargs)
  except TypeError as error:
    raise ValueError(f'{what}={text}: {error}') from error


def name_of(text: str, what: str) -> str:
  """The name in 'name' or 'name(1, key=2)'."""
  return _parse(text, what)[0]


def _parse(text: str, what: str) -> tuple[str, list[Any], dict[str, Any]]:
  try:
    node = ast.parse(text, mode='eval').body
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
      args = [ast.literal_eval(arg) for arg in node.args]
      kwargs = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
      return node.func.id, args, kwargs
  except (SyntaxError, TypeError, ValueError) as error:
    raise ValueError(
      f"{what} must be a name or a call such as 'name(1, key=2)', got {text!r}"
    ) from error
  return text, [], {}
