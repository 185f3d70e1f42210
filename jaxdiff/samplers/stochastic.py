"""Reverse SDE solvers: Euler-Maruyama, SDE-DPM-Solver++, EDM's churn, LCM.

  dx = (f x - g^2 score) dt + g dw,   f = alpha' / alpha,
                                      g^2 = 2 sigma (sigma' - f sigma)

(Song et al. 2021, eq. 6.) `eta` is how much of the noise is added, between the
probability-flow ODE (0) and the SDE (1), see `exponential`. Churn adds noise
first and then solves the ODE, `renoised` the other way round.
`samplers.ancestral` is the SDE's own first-order solver, exact while the
estimate stays as it is.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff import predictions, processes
from jaxdiff.checks import number, whole
from jaxdiff.samplers import sampling
from jaxdiff.samplers.exponential import (
  History,
  added_noise,
  bend,
  drift,
  half_gain,
  no_history,
  remember,
)
from jaxdiff.samplers.sampling import Denoiser, Solver, Step, estimate
from jaxdiff.samplers.solvers import halfway, heun
from jaxdiff.schedules import Schedule, inverse, log_snr


def noise(keys: Array, x: Array) -> Array:
  """Draws standard normal noise like x, by each example's key. [B, ...]"""
  return jax.vmap(lambda key, x: jax.random.normal(key, x.shape))(keys, x)


def split(keys: Array) -> tuple[Array, Array]:
  """Splits the keys of examples in two, ([B], [B])."""
  return jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)


def euler_maruyama(schedule: Schedule) -> Step:
  """Builds Euler-Maruyama: weak order 1, one evaluation.

    xs = xt + (s - t) (f xt - g^2 score) + g sqrt(t - s) z

  At alpha_t = 0, and wherever else f or g is infinite, it takes the step of
  `ancestral`, which has the same limit.

  Source: score SDE (Song et al. 2021) eq. 6.
  """
  first_order = sampling.ancestral(processes.gaussian(schedule))

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    alpha, sigma = schedule(t)
    alpha_rate, sigma_rate = predictions.velocity(schedule, t)
    f = alpha_rate / alpha
    g_squared = 2.0 * sigma * (sigma_rate - f * sigma)

    def euler(xt: Array, keys: Array) -> Array:
      x0 = estimate(denoiser, xt, t)
      score = -(xt - alpha * x0) / sigma**2
      xs = xt + (s - t) * (f * xt - g_squared * score)
      return xs + jnp.sqrt(g_squared * (t - s)) * noise(keys, xt)

    return jax.lax.cond(
      jnp.isfinite(f) & jnp.isfinite(g_squared),
      euler,
      lambda xt, keys: first_order(denoiser, keys, xt, t, s),
      xt,
      keys,
    )

  return step


def dpmpp_2m_sde(schedule: Schedule, eta: ArrayLike = 1.0) -> Solver:
  """Builds SDE-DPM-Solver++(2M): the estimate extrapolated, the noise exact.

    xs = (sigma_s / sigma_t) e^(-eta h) xt
         + alpha_s (1 - e^(-(1 + eta) h)) (x0 + (h / 2 h') (x0 - x0'))
         + sigma_s sqrt(1 - e^(-2 eta h)) z

  with x0' the last estimate, h' its step. eta = 0 is `dpmpp_2m`. The first
  step, and that to sigma_s = 0, do not extrapolate; with eta = 1 they are those
  of `ancestral`. eta may be traced.

  Source: DPM-Solver++ (Lu et al. 2022) appendix B; eta, k-diffusion.
  """
  number('eta', eta, '[0, inf)')

  def step(
    denoiser: Denoiser,
    keys: Array,
    xt: Array,
    t: Array,
    s: Array,
    past: History,
  ) -> tuple[Array, History]:
    level = log_snr(schedule, t)
    h, h_past = half_gain(schedule, t, s), 0.5 * (level - past.log_snr[0])
    x0 = estimate(denoiser, xt, t)
    # h' is infinite, and the gain 0, where there is no last estimate.
    gain = jnp.where(jnp.isfinite(h), 0.5 * h / h_past, 0.0)
    ahead = x0 + gain * (x0 - past.x0[0])
    xs = drift(schedule, xt, ahead, t, s, eta)
    xs += added_noise(schedule, t, s, eta) * noise(keys, xt)
    return xs, remember(past, level, x0)

  return Solver(lambda x: no_history(1, x), step)


def dpmpp_3m_sde(schedule: Schedule, eta: ArrayLike = 1.0) -> Solver:
  """Builds SDE-DPM-Solver++(3M): a parabola through three estimates.

  `dpmpp_3m` with noise; eta may be traced. Like that one it integrates the
  parabola exactly, where the published code has half the second difference.

  Source: k-diffusion's sample_dpmpp_3m_sde (Crowson 2023).
  """
  number('eta', eta, '[0, inf)')

  def step(
    denoiser: Denoiser,
    keys: Array,
    xt: Array,
    t: Array,
    s: Array,
    past: History,
  ) -> tuple[Array, History]:
    x0 = estimate(denoiser, xt, t)
    known = remember(past, log_snr(schedule, t), x0)
    xs = drift(schedule, xt, x0, t, s, eta)
    xs += schedule(s).alpha * bend(schedule, known, t, s, eta)
    return xs + added_noise(schedule, t, s, eta) * noise(keys, xt), known

  return Solver(lambda x: no_history(3, x), step)


def dpmpp_sde(schedule: Schedule, eta: ArrayLike = 1.0) -> Step:
  """Builds SDE-DPM-Solver++(2S): two evaluations, no memory.

  The estimate that is held over the step is that at u, halfway in the log-SNR,
  where the same noise has led. eta may be traced.

  Source: k-diffusion's sample_dpmpp_sde (Crowson 2022), r = 1/2.
  """
  number('eta', eta, '[0, inf)')

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    x0 = estimate(denoiser, xt, t)
    first_keys, second_keys = split(keys)
    first, second = noise(first_keys, xt), noise(second_keys, xt)

    def two(xt: Array) -> Array:
      u = halfway(schedule, t, s)
      z = added_noise(schedule, t, u, eta) * first
      xu = drift(schedule, xt, x0, t, u, eta) + z
      xs = drift(schedule, xt, estimate(denoiser, xu, u), t, s, eta)
      # The noise at u, carried on to s.
      z = drift(schedule, z, jnp.zeros_like(z), u, s, eta)
      return xs + z + added_noise(schedule, u, s, eta) * second

    def one(xt: Array) -> Array:
      xs = drift(schedule, xt, x0, t, s, eta)
      return xs + added_noise(schedule, t, s, eta) * first

    finite = jnp.isfinite(half_gain(schedule, t, s))
    return jax.lax.cond(finite, two, one, xt)

  return step


def lcm(schedule: Schedule) -> Step:
  """Builds multistep consistency sampling: the estimate, noised anew to s.

    xs = alpha_s x0 + sigma_s z

  For a consistency model, whose x0 is where the ODE ends, and not E[x0 | xt]:
  with a denoiser the samples are too narrow.

  Source: consistency models (Song et al. 2023) algorithm 1; LCM (Luo et al.
  2023) algorithm 3.
  """

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    alpha, sigma = schedule(s)
    return alpha * estimate(denoiser, xt, t) + sigma * noise(keys, xt)

  return step


def churn(
  step: Step,
  schedule: Schedule,
  num_steps: int,
  s_churn: ArrayLike,
  s_min: ArrayLike = 0.0,
  s_max: ArrayLike = math.inf,
  s_noise: ArrayLike = 1.0,
) -> Step:
  """Builds EDM's churn: another step after some noise, from t back up to t'.

    rho' = (1 + min(s_churn / N, sqrt(2) - 1)) rho,  rho = sigma / alpha

  where s_min <= rho <= s_max, and rho' = rho elsewhere; not above the noise of
  t = 1, since there is no such t. The noise has the standard deviation s_noise,
  N is the number of steps of the whole grid.

  Source: EDM (Karras et al. 2022) algorithm 2.
  """
  whole('num_steps', num_steps, 1)
  number('s_churn', s_churn, '[0, inf)')
  number('s_min', s_min, '[0, inf)')
  number('s_max', s_max, '(0, inf]')
  if not isinstance(s_min, jax.Array):
    number('s_max', s_max, f'({s_min}, inf]')
  number('s_noise', s_noise, '(0, inf)')

  def churned(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    noise_keys, step_keys = split(keys)
    alpha, sigma = schedule(t)
    rho = sigma / alpha
    gamma = jnp.minimum(s_churn / num_steps, math.sqrt(2) - 1)
    # An infinite rho cannot be raised; and one raised by 0 stays exactly.
    raised = (s_min <= rho) & (rho <= s_max) & jnp.isfinite(rho) & (gamma > 0)
    up = inverse(schedule, log_snr(schedule, t) - 2.0 * jnp.log1p(gamma))
    up = jnp.where(raised, jnp.maximum(up, t), t)
    alpha_up, sigma_up = schedule(up)
    scale = jnp.where(raised, alpha_up / alpha, 1.0)
    # sigma'^2 - sigma^2 of the t' found, not of the requested rho'.
    added = jnp.maximum(sigma_up**2 - (scale * sigma) ** 2, 0.0)
    std = s_noise * jnp.sqrt(jnp.where(raised, added, 0.0))
    xt = scale * xt + std * noise(noise_keys, xt)
    return step(denoiser, step_keys, xt, up, s)

  return churned


def edm_stochastic(
  schedule: Schedule,
  num_steps: int,
  s_churn: ArrayLike = 40.0,
  s_min: ArrayLike = 0.05,
  s_max: ArrayLike = 50.0,
  s_noise: ArrayLike = 1.003,
) -> Step:
  """Builds EDM's stochastic sampler: `churn` before each step of `heun`.

  s_churn = 0 is `heun`. The defaults are the paper's for ImageNet-64.

  Source: EDM (Karras et al. 2022) algorithm 2, table 5.
  """
  return churn(
    heun(schedule), schedule, num_steps, s_churn, s_min, s_max, s_noise
  )
