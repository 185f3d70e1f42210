"""Ancestral forms of ODE solvers: a step beyond s, and up to s by noise.

  renoised(step): from t to d < s by the step, from d to s by q(xs | xd)

d is where sigma_d / alpha_d is eta's fraction of s's,

  rho_d^2 = rho_s^2 ((1 - eta^2) + eta^2 r),  r = SNR(t) / SNR(s),

DDIM's split of the noise: `renoised(euler(schedule), schedule, eta)` is
`ddim(schedule, eta)`. It adds noise after a step as `churn` does before one.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff import processes
from jaxdiff.checks import number
from jaxdiff.samplers.sampling import Denoiser, Step
from jaxdiff.samplers.solvers import dpm_2, dpmpp_2s
from jaxdiff.samplers.stochastic import noise, split
from jaxdiff.schedules import Schedule, inverse, log_snr


def renoised(step: Step, schedule: Schedule, eta: ArrayLike = 1.0) -> Step:
  """Builds the ancestral form of a step of the ODE.

  Where d would lie beyond the schedule's end it is t = 0.

  Args:
    step: one without memory, such as `heun(schedule)`.
    eta: in [0, 1]; 0 is the step itself. May be traced.

  Source: k-diffusion's get_ancestral_step (Crowson 2022).
  """
  number('eta', eta, '[0, 1]')

  def ancestral(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    noise_keys, step_keys = split(keys)
    kept = (1.0 - eta**2) + eta**2 * processes.snr_ratio(schedule, t, s)
    down = inverse(schedule, log_snr(schedule, s) - jnp.log(kept))
    down = jnp.minimum(down, s)
    xd = step(denoiser, step_keys, xt, t, down)
    scale = schedule(s).alpha / schedule(down).alpha
    added = processes.forward_variance(schedule, s, down)
    std = jnp.sqrt(jnp.maximum(added, 0.0))
    return scale * xd + std * noise(noise_keys, xt)

  return ancestral


def dpm_2_ancestral(schedule: Schedule, eta: ArrayLike = 1.0) -> Step:
  """Builds the ancestral form of `dpm_2`, k-diffusion's."""
  return renoised(dpm_2(schedule), schedule, eta)


def dpmpp_2s_ancestral(schedule: Schedule, eta: ArrayLike = 1.0) -> Step:
  """Builds the ancestral form of `dpmpp_2s` by log-SNR, k-diffusion's."""
  return renoised(dpmpp_2s(schedule, 'log_snr'), schedule, eta)
