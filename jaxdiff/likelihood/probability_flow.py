"""Probability-flow ODE: the exact likelihood of a diffusion model.

The ODE whose marginals are those of the diffusion is, for any schedule,

  dxt/dt = alpha' x0_hat + sigma' eps_hat        (score SDE, eq. 13)

but alpha' or sigma' is infinite at an end of many schedules, and xt grows with
sigma on others. So it is solved over the log-SNR l, and for

  z = xt / sqrt(alpha^2 + sigma^2) = a x0 + b eps,
  a^2 = sigmoid(l), b^2 = sigmoid(-l),

  dz/dl = a/2 (x0_hat - a z),

where every schedule is the same. This is bounded, and vanishes towards both
ends; the schedule only gives the t of the denoiser. Along a path, with f =
dz/dl,

  d log p(z)/dl = -div f,
  log p(x0) = log N(z_1; 0, b_1^2) + int div f dl + D log a_0,

the integral from the first l (the data, where x0 is taken for xt / alpha) to
the last. A grid [N + 1] of log-SNRs goes from the data's end to the prior's.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm

from jaxdiff import schedules
from jaxdiff.checks import whole
from jaxdiff.likelihood import ode
from jaxdiff.likelihood.ode import Integrator
from jaxdiff.samplers import Denoiser
from jaxdiff.schedules import Schedule

# (function of z[B, ...], z, keys[B]) -> (its value, its divergence [B]).
Divergence = Callable[
  [Callable[[Array], Array], Array, Array], tuple[Array, Array]
]


class Likelihood(NamedTuple):
  """The result of `log_likelihood`."""

  log_density: Array  # [B] nats, of x0 [B, ...]
  latent: Array  # [B, ...], x at the prior's end
  evaluations: Array  # int32 scalar, of the denoiser, for the whole batch


def log_snr_grid(
  schedule: Schedule,
  num_steps: int,
  t_min: float = 1e-5,
  t_max: float = 1 - 1e-5,
) -> Array:
  """Builds log-SNRs evenly spaced from t_min's to t_max's. [num_steps + 1].

  The ends keep clear of t = 0 and 1, where many schedules' are infinite.
  Another grid is `schedules.log_snr(schedule, times)` of increasing times.

  Raises:
    ValueError: not 0 <= t_min < t_max <= 1.
  """
  whole('num_steps', num_steps, 1)
  if not 0 <= t_min < t_max <= 1:
    raise ValueError(
      f'need 0 <= t_min < t_max <= 1, got t_min={t_min} and t_max={t_max}'
    )
  first, last = (schedules.log_snr(schedule, t) for t in (t_min, t_max))
  return jnp.linspace(first, last, num_steps + 1)


def exact_trace(chunk: int = 16) -> Divergence:
  """Builds the exact divergence sum_d e_d . J e_d: D Jacobian products.

  Examples must not depend on each other: all are given the same e_d at once.
  `chunk` products are computed together; memory grows with it.
  """
  whole('chunk', chunk, 1)

  def divergence(
    f: Callable[[Array], Array], z: Array, keys: Array
  ) -> tuple[Array, Array]:
    del keys
    value, linear = jax.linearize(f, z)
    shape = z.shape[1:]

    def component(d: Array) -> Array:
      e = jax.nn.one_hot(d, int(np.prod(shape)), dtype=z.dtype).reshape(shape)
      e = jnp.broadcast_to(e, z.shape)
      return _dot(e, linear(e))

    index = jnp.arange(int(np.prod(shape)))
    parts = jax.lax.map(component, index, batch_size=min(chunk, len(index)))
    return value, jnp.sum(parts, axis=0)

  return divergence


def hutchinson(num_probes: int = 1) -> Divergence:
  """Builds Hutchinson's estimate of the divergence: mean of v . J v, unbiased.

  The Rademacher probes v of an example are functions of its key alone and stay
  the same along its path, so that the ODE is one an adaptive solver can solve.
  Entries of +-1 leave the diagonal of J without variance; Gaussian ones would
  not. Each of `num_probes` is one Jacobian product.

  Source: Hutchinson 1989; FFJORD (Grathwohl et al. 2019) section 3.1.
  """
  whole('num_probes', num_probes, 1)

  def divergence(
    f: Callable[[Array], Array], z: Array, keys: Array
  ) -> tuple[Array, Array]:
    value, linear = jax.linearize(f, z)

    def probe(j: Array) -> Array:
      draw = lambda key: jax.random.rademacher(
        jax.random.fold_in(key, j), z.shape[1:], z.dtype
      )
      v = jax.vmap(draw)(keys)
      return _dot(v, linear(v))

    return value, jnp.mean(jax.lax.map(probe, jnp.arange(num_probes)), axis=0)

  return divergence


def log_likelihood(
  denoiser: Denoiser,
  schedule: Schedule,
  keys: Array,
  x0: Array,
  grid: Array,
  *,
  divergence: Divergence | None = None,
  integrator: Integrator | None = None,
) -> Likelihood:
  """Computes log p(x0) of the flow to N(0, sigma^2) at the grid's end, in nats.

  The density is that of continuous data: dequantise 8-bit data first
  (`likelihood.dequantize`, `likelihood.bits_per_dim`).

  Args:
    denoiser: E[x0 | xt], differentiable in xt.
    keys: [B] one for each example, for its probes.
    grid: [N + 1] decreasing finite log-SNRs, as `log_snr_grid`.
    divergence: `hutchinson()` unless given.
    integrator: `ode.fixed(ode.RK4)` unless given; `ode.dormand_prince()`
      chooses its own steps.

  Source: score SDE (Song et al. 2021) section 4.3 and appendix D.2; the change
  of variables is FFJORD's.
  """
  divergence = divergence or hutchinson()
  integrator = integrator or ode.fixed(ode.RK4)
  f = _field(denoiser, schedule)

  def field(log_snr: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
    return divergence(lambda z: f(log_snr, z), state[0], keys)

  first, last = (schedules.variance_preserving(grid[i]) for i in (0, -1))
  start = first.alpha * x0, jnp.zeros(len(x0), x0.dtype)
  (z, change), evaluations = integrator(field, start, grid)
  dims = tuple(range(1, z.ndim))
  log_prior = jnp.sum(norm.logpdf(z, 0.0, last.sigma), axis=dims)
  log_scale = np.prod(z.shape[1:]) * jnp.log(first.alpha)
  return Likelihood(
    log_prior + change + log_scale,
    _scale(schedule, grid[-1]) * z,
    evaluations,
  )


def _field(
  denoiser: Denoiser, schedule: Schedule
) -> Callable[[Array, Array], Array]:
  """f(l, z) = a/2 (x0_hat - a z), for a batch z."""

  def field(log_snr: Array, z: Array) -> Array:
    t = schedules.inverse(schedule, log_snr)
    a = schedules.variance_preserving(log_snr).alpha
    xt = _scale(schedule, log_snr) * z
    x0 = denoiser(xt, jnp.full(len(z), t))
    return 0.5 * a * (x0 - a * z)

  return field


def _scale(schedule: Schedule, log_snr: Array) -> Array:
  """sqrt(alpha^2 + sigma^2), by which xt is larger than z."""
  alpha, sigma = schedule(schedules.inverse(schedule, log_snr))
  return jnp.sqrt(alpha**2 + sigma**2)


def _dot(x: Array, y: Array) -> Array:
  """[B, ...] x [B, ...] -> [B]."""
  return jnp.sum(x * y, axis=tuple(range(1, x.ndim)))
