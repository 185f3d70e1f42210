"""What the names in a configuration stand for.

A new schedule, sampler or threshold is one new line in one of these.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxdiff import guidance, predictions, processes, samplers, schedules
from jaxdiff.losses import times
from jaxdiff.schedules import Schedule

SCHEDULES: dict[str, Callable[[int], Schedule]] = {
  'cosine': lambda num_steps: schedules.cosine(),
  'linear_vp': lambda num_steps: schedules.linear_vp(),
  'sub_vp': lambda num_steps: schedules.sub_vp(),
  've': lambda num_steps: schedules.ve(),
  'edm': lambda num_steps: schedules.edm(),
  'rectified_flow': lambda num_steps: schedules.rectified_flow(),
  'laplace': lambda num_steps: schedules.laplace(),
  'linear_betas': lambda num_steps: schedules.from_betas(
    schedules.linear_betas(num_steps)
  ),
  'scaled_linear_betas': lambda num_steps: schedules.from_betas(
    schedules.scaled_linear_betas(num_steps)
  ),
  'cosine_betas': lambda num_steps: schedules.from_betas(
    schedules.cosine_betas(num_steps)
  ),
  'sigmoid_betas': lambda num_steps: schedules.from_betas(
    schedules.sigmoid_betas(num_steps)
  ),
}

PREDICTIONS: dict[str, predictions.Kind] = {
  'x0': predictions.x0,
  'eps': predictions.eps,
  'v': predictions.v,
  'velocity': predictions.velocity,
  'score': predictions.score,
  'edm': predictions.edm(),
}

# (schedule, variance, eta, number of steps) -> Step or Solver
SAMPLERS: dict[str, Callable[..., samplers.Step | samplers.Solver]] = {
  'ancestral': lambda schedule, variance, eta, steps: samplers.ancestral(
    processes.gaussian(schedule, variance)
  ),
  'ddim': lambda schedule, variance, eta, steps: samplers.ddim(schedule, eta),
  'dpmpp_2m': lambda schedule, *_: samplers.dpmpp_2m(schedule),
  'dpmpp_2s': lambda schedule, *_: samplers.dpmpp_2s(schedule),
  'dpmpp_3m': lambda schedule, *_: samplers.dpmpp_3m(schedule),
  'dpmpp_sde_2m': lambda schedule, variance, eta, steps: samplers.dpmpp_sde_2m(
    schedule, eta
  ),
  'edm_stochastic': lambda schedule, variance, eta, steps: (
    samplers.edm_stochastic(schedule, steps)
  ),
  'euler': lambda schedule, *_: samplers.euler(schedule),
  'euler_maruyama': lambda schedule, *_: samplers.euler_maruyama(schedule),
  'heun': lambda schedule, *_: samplers.heun(schedule),
  'plms': lambda schedule, *_: samplers.plms(schedule),
  'pndm': lambda schedule, *_: samplers.pndm(schedule),
  'predictor_corrector': lambda schedule, variance, eta, steps: (
    samplers.predictor_corrector(
      samplers.ancestral(processes.gaussian(schedule, variance)), schedule
    )
  ),
  'rk4': lambda schedule, *_: samplers.rk4(schedule),
  'unipc': lambda schedule, *_: samplers.unipc(schedule),
}

# (number of steps, schedule) -> decreasing times
TIMES: dict[str, Callable[[int, Schedule], Any]] = {
  'uniform': lambda steps, schedule: samplers.uniform_times(steps),
  'quadratic': lambda steps, schedule: samplers.quadratic_times(steps),
  'karras': samplers.karras_times,
  'log_snr': samplers.log_snr_times,
  'trailing': lambda steps, schedule: samplers.trailing_times(steps),
  'leading': lambda steps, schedule: samplers.leading_times(steps),
}

POSITIONS: dict[str, times.Positions] = {
  'independent': times.independent,
  'stratified': times.stratified,
  'antithetic': times.antithetic,
}

THRESHOLDS: dict[str, Callable[[samplers.Denoiser], samplers.Denoiser]] = {
  'none': lambda denoiser: denoiser,
  'clip': guidance.clip,
  'dynamic': guidance.dynamic_threshold,
}


def pick(choices: Mapping[str, Any], name: str, what: str) -> Any:
  """choices[name], or a ValueError that lists them."""
  if name not in choices:
    raise ValueError(f'{what} must be one of {sorted(choices)}, got {name!r}')
  return choices[name]
