"""Probability-flow ODE solvers without memory: Euler, Heun, RK4, DPM-Solver-2.

In y = x / alpha and rho = sigma / alpha the ODE is dy = eps d rho (EDM, eq. 1;
DDIM, eq. 14). With h half the log-SNR gained from t to s, its solution is

  xs = (sigma_s / sigma_t) xt + alpha_s int_0^h e^(u - h) x0(u) du

(DPM-Solver++, eq. 8), x0(u) being the estimate on the way. Holding it at its
value at t gives DDIM; the other solvers find out how it bends.

At either end of a schedule h may be infinite: sigma_s = 0, the data, or alpha_t
= 0, pure noise (zero terminal SNR, a rectified flow's t = 1). No bend is known
there, and every solver takes DDIM's step, which needs none. Such a step errs by
O((t - s)^2): no order above 2 survives it, unless the times are finer there.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import predictions
from jaxdiff.checks import whole
from jaxdiff.samplers.exponential import (
  advance,
  half_gain,
  noise_change,
  noise_gain,
  transfer,
)
from jaxdiff.samplers.sampling import (
  Denoiser,
  Step,
  eps_of,
  estimate,
)
from jaxdiff.schedules import Schedule, inverse, log_snr


def euler(schedule: Schedule) -> Step:
  """Builds Euler's method ys = yt + (rho_s - rho_t) eps: order 1, 1 evaluation.

  It is `ddim(schedule, 0)` (DDIM, section 4.3), and on `rectified_flow` Euler's
  method in (x, t) too.
  """

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    del keys
    return advance(schedule, xt, estimate(denoiser, xt, t), t, s)

  return step


def flow_map(
  schedule: Schedule, flow: Callable[[Array, Array, Array], Array]
) -> Step:
  """Builds the step of a model that is told both times.

  See `losses.flow_maps`. The denoiser, which is told t alone, is not used.

  Args:
    flow: (xt [B, ...], t [B], s [B]) -> the x0 of DDIM's step from t to s.

  Source: MeanFlow (Geng et al. 2025, arXiv:2505.13447) algorithm 2.
  """

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    del denoiser
    x0 = flow(xt, *(jnp.broadcast_to(x, keys.shape) for x in (t, s)))
    return advance(schedule, xt, x0, t, s)

  return step


def heun(schedule: Schedule, variable: str = 'rho') -> Step:
  """Builds Heun's method: order 2, two evaluations.

  ys = yt + (rho_s - rho_t) (eps_t + eps_s) / 2 with eps_s that of Euler's step.
  It needs a grid of small steps in rho, such as `karras_times`: of even steps
  in t the first is most of rho; on two moons 20 of them are worse than DDIM's.

  Args:
    variable: 'rho', or 't' for the mean of two velocities dx/dt in x and t
      themselves, as models of a rectified flow are sampled on even steps in t.
      Where `rk4` takes the step of `euler`, so does this.

  Raises:
    ValueError: variable is neither.

  Source: EDM (Karras et al. 2022) algorithm 1.
  """
  if variable not in ('rho', 't'):
    raise ValueError(f"variable must be 'rho' or 't', got {variable!r}")
  if variable == 't':
    return _in_time(schedule, _mean_of_two)

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    del keys
    return trapezoid(schedule, denoiser, xt, estimate(denoiser, xt, t), t, s)

  return step


def trapezoid(
  schedule: Schedule,
  denoiser: Denoiser,
  xt: Array,
  x0: Array,
  t: Array,
  s: Array,
) -> Array:
  """Computes Heun's step from t, where the estimate is x0. [B, ...]"""
  xs = advance(schedule, xt, x0, t, s)

  def correct(xs: Array) -> Array:
    change = noise_gain(schedule, x0, estimate(denoiser, xs, s), t, s)
    return xs + noise_change(schedule, 0.5 * change, t, s)

  finite = jnp.isfinite(half_gain(schedule, t, s))
  return jax.lax.cond(finite, correct, lambda xs: xs, xs)


def rk4(schedule: Schedule) -> Step:
  """Builds the classical Runge-Kutta method: order 4, four evaluations.

    dx/dt = alpha' x0 + sigma' eps

  Its order is that of a smooth schedule: at the grid points of a table alpha'
  jumps. Where alpha' or sigma' is infinite, and to sigma_s = 0, it takes the
  step of `euler`; from alpha_t = 0 it starts like anywhere else.
  """

  return _in_time(schedule, _classical)


Slope = Callable[[Array, Array], Array]  # (x, t) -> dx/dt


def _mean_of_two(slope: Slope, xt: Array, t: Array, s: Array) -> Array:
  dt = s - t
  k1 = slope(xt, t)
  return xt + 0.5 * dt * (k1 + slope(xt + dt * k1, s))


def _classical(slope: Slope, xt: Array, t: Array, s: Array) -> Array:
  middle, dt = 0.5 * (t + s), s - t
  k1 = slope(xt, t)
  k2 = slope(xt + 0.5 * dt * k1, middle)
  k3 = slope(xt + 0.5 * dt * k2, middle)
  k4 = slope(xt + dt * k3, s)
  return xt + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _in_time(
  schedule: Schedule, method: Callable[[Slope, Array, Array, Array], Array]
) -> Step:
  """Builds the step of a method for dx/dt; see `rk4` for its exceptions."""

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    del keys

    def slope(x: Array, t: Array) -> Array:
      x0 = estimate(denoiser, x, t)
      return predictions.convert(
        predictions.x0, predictions.velocity, schedule, x0, x, t
      )

    def held(xt: Array) -> Array:
      return advance(schedule, xt, estimate(denoiser, xt, t), t, s)

    # Of t and s: both are evaluated.
    rates = [predictions.velocity(schedule, time) for time in (t, s)]
    smooth = jnp.isfinite(jnp.asarray(rates)).all() & (schedule(s).sigma > 0)
    return jax.lax.cond(smooth, lambda xt: method(slope, xt, t, s), held, xt)

  return step


def halfway(schedule: Schedule, t: Array, s: Array) -> Array:
  """Computes the time in the middle of the log-SNR, h finite."""
  middle = 0.5 * (log_snr(schedule, t) + log_snr(schedule, s))
  return jnp.clip(inverse(schedule, middle), s, t)


def dpm_2(schedule: Schedule) -> Step:
  """Builds the midpoint method: order 2, two evaluations.

  ys = yt + (rho_s - rho_t) eps_u with eps_u that of Euler's step to u, halfway
  in the log-SNR.

  Source: k-diffusion's sample_dpm_2 (Crowson 2022); DPM-Solver-2 (Lu et al.
  2022) with the weights of `euler`.
  """

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    del keys
    x0 = estimate(denoiser, xt, t)

    def midpoint(xt: Array) -> Array:
      u = halfway(schedule, t, s)
      xu = advance(schedule, xt, x0, t, u)
      change = noise_gain(schedule, x0, estimate(denoiser, xu, u), t, u)
      return held(xt) + noise_change(schedule, change, t, s)

    held = lambda xt: advance(schedule, xt, x0, t, s)
    finite = jnp.isfinite(half_gain(schedule, t, s))
    return jax.lax.cond(finite, midpoint, held, xt)

  return step


def dpmpp_2s(schedule: Schedule, middle: str = 'time') -> Step:
  """Builds DPM-Solver++(2S): order 2, two evaluations, no memory.

  The bend comes from a second estimate at u between t and s:

    x0 + (h / 2 h_u) (x0_u - x0) in place of x0.

  Args:
    middle: u is halfway in 'time', (t + s) / 2, or in the 'log_snr' as in the
      paper; any u serves.

  Source: DPM-Solver++ (Lu et al. 2022) algorithm 1.
  """
  if middle not in ('time', 'log_snr'):
    raise ValueError(f"middle must be 'time' or 'log_snr', got {middle!r}")

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    del keys
    u = 0.5 * (t + s) if middle == 'time' else halfway(schedule, t, s)
    h, h_u = half_gain(schedule, t, s), half_gain(schedule, t, u)
    x0 = estimate(denoiser, xt, t)

    def bend(x0: Array) -> Array:
      xu = advance(schedule, xt, x0, t, u)
      return x0 + 0.5 * h / h_u * (estimate(denoiser, xu, u) - x0)

    x0 = jax.lax.cond(jnp.isfinite(h), bend, lambda x0: x0, x0)
    return advance(schedule, xt, x0, t, s)

  return step


def encode(schedule: Schedule, iterations: int = 1) -> Step:
  """Builds DDIM inversion: from t up to s > t, undoing a step of `euler`.

    xs = (alpha_s / alpha_t) (xt - sigma_t eps) + sigma_s eps,

  with eps that of the noisier end, as the step back from s will use. It depends
  on xs, the unknown: iteration 0 takes xt in its place, which undoes the step
  to first order and is the usual inversion; each further one puts in the xs
  found, and where these converge (they do for short steps) the step is undone
  exactly. alpha_s must not be 0, sigma_t may be.

  Used with increasing times, `sample(encode(schedule), ..., times[::-1])`; the
  result is what `euler` takes back to the data.

  Source: DDIM (Song et al. 2021) section 5.4; the iteration, Pan et al. 2023,
  "Effective real image editing with accelerated iterative diffusion inversion".
  """
  whole('iterations', iterations, 1)

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    del keys

    def improve(_: int, xs: Array) -> Array:
      eps = eps_of(schedule, xs, estimate(denoiser, xs, s), s)
      return transfer(schedule, xt, eps, t, s)

    return jax.lax.fori_loop(0, iterations, improve, xt)

  return step
