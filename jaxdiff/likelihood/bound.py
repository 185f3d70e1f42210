"""The variational bound on -log p(x0), term by term, and bits/dim.

Along decreasing times t_0 > t_1 > ... > t_N = 0 a diffusion model is a
hierarchical latent variable model with x at t_0, ..., t_{N-1} as its latents,
and its evidence bound is

  -log p(x0) <= L_T + sum_n L_n + L_0                       (DDPM, eq. 5)

  L_T = KL(q(x_{t_0} | x0) || N(0, sigma^2))                the prior's
  L_n = E KL(q(xs | xt, x0) || p(xs | xt))                  s = t_{n+1}, t = t_n
  L_0 = -E log p(x0 | x_{t_{N-1}})                          the decoder's.

As N grows, sum_n L_n becomes an integral over the log-SNR l,

  1/2 E int SNR(l) |x0 - x0_hat|^2 dl                       (VDM, eq. 11-18).

All terms are bits per dimension of one example, [B]. What `bins` is decides
what they bound: 256 for the probability of 8-bit data, None for the density of
continuous data.

Example i meets the noise of keys[i] alone, whatever the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm
from jax.typing import ArrayLike

from jaxdiff import normal, processes, schedules
from jaxdiff.samplers import Denoiser
from jaxdiff.schedules import Schedule

# p(xs | xt): (xt[B, ...], t[B], s[B]) -> (mean, variance), each [B, ...].
Reverse = Callable[[Array, Array, Array], tuple[Array, Array]]


class Bound(NamedTuple):
  """The terms of a bound, in bits/dim; `total` is their sum, [B]."""

  prior: Array  # [B], L_T
  steps: Array  # [B, K], K terms that sum to sum_n L_n, or estimate it
  data: Array  # [B], L_0

  @property
  def total(self) -> Array:
    return self.prior + jnp.sum(self.steps, axis=1) + self.data


def fixed_variance(
  denoiser: Denoiser, schedule: Schedule, variance: str = 'small'
) -> Reverse:
  """p(xs | xt) = q(xs | xt, x0_hat), its variance not learned.

  The step to s = 0 is the decoder, N(x0_hat, (sigma_t / alpha_t)^2) whichever
  the choice: what xt alone says of x0, and on a table DDPM's beta_1 to a part
  in 1 - beta_1. q(xs | xt, x0_hat) would not do: it is a point at s = 0, or,
  where sigma(0) is not 0, a draw of x0 with that noise still on it.

  Args:
    denoiser: E[x0 | xt].
    schedule: the noise levels.
    variance: 'small' or 'large', as in `processes.gaussian`.

  Raises:
    ValueError: variance is neither.
  """
  if variance not in ('small', 'large'):
    raise ValueError(f"variance must be 'small' or 'large', got {variance!r}")
  posterior = processes.gaussian(schedule).posterior

  def one(xt: Array, x0: Array, t: Array, s: Array) -> tuple[Array, Array]:
    alpha, sigma = schedule(t)
    mean, var = posterior(xt, x0, t, s)
    if variance == 'large':
      var = processes.forward_variance(schedule, t, s)
    # At alpha = 0, in a chain of one step, xt says nothing of x0.
    decoder = jnp.square(sigma / jnp.maximum(alpha, 1e-3))
    mean = jnp.where(s == 0, x0, mean)
    return mean, jnp.full_like(mean, jnp.where(s == 0, decoder, var))

  return lambda xt, t, s: jax.vmap(one)(xt, denoiser(xt, t), t, s)


def learned_variance(
  denoiser: Callable[[Array, Array], tuple[Array, Array]], schedule: Schedule
) -> Reverse:
  """p(xs | xt) of a `learned_variance.denoiser`, (E[x0 | xt], v).

  The step to s = 0 is the decoder, N(x0_hat, the learned variance).
  """
  posterior = processes.gaussian(schedule).posterior

  def one(
    xt: Array, estimate: tuple[Array, Array], t: Array, s: Array
  ) -> tuple[Array, Array]:
    x0, v = estimate
    mean, _ = posterior(xt, x0, t, s)
    log_var = processes.interpolated_log_variance(schedule, v, t, s)
    return jnp.where(s == 0, x0, mean), jnp.exp(log_var)

  return lambda xt, t, s: jax.vmap(one)(xt, denoiser(xt, t), t, s)


def variational_bound(
  reverse: Reverse,
  schedule: Schedule,
  keys: Array,
  x0: Array,
  times: ArrayLike,
  *,
  num_terms: int | None = None,
  bins: int | None = 256,
) -> Bound:
  """L_T, the L_n and L_0 of each example, each L_n at one draw of the noise.

  The network is compiled twice (for the L_n, one `lax.map`, and for L_0),
  whatever the number of terms.

  Args:
    reverse: the model's p(xs | xt), e.g. `fixed_variance(...)`.
    schedule: the noise levels.
    keys: [B] one for each example; term n uses fold_in(key, n).
    x0: [B, ...] in [-1, 1]; where `bins` is given, its bins' centres.
    times: [N + 1] decreasing to 0, e.g. `samplers.uniform_times(N)`: the T
      steps of the table, or fewer.
    num_terms: None for all N - 1 of the L_n. Otherwise this many of them for
      each example, drawn one from each of `num_terms` equal parts of the grid
      and scaled such that their sum is unbiased.
    bins: values a datum can have; None for continuous data.

  Returns:
    Bound, bits/dim; steps [B, N - 1] in the order of times, or
    [B, num_terms].

  Raises:
    ValueError: times not decreasing to 0, or num_terms < 1.

  Source: DDPM (Ho et al. 2020) eq. 5, 13; at random terms, iDDPM (Nichol &
  Dhariwal 2021) section 3.3.
  """
  times = np.asarray(times, np.float32)
  if times.ndim != 1 or times[-1] != 0 or not (np.diff(times) < 0).all():
    raise ValueError(f'times must decrease to 0, got {times}')
  if num_terms is not None and num_terms < 1:
    raise ValueError(f'num_terms must be at least 1 or None, got {num_terms}')
  last = len(times) - 2
  start, end = jnp.asarray(times[:-1]), jnp.asarray(times[1:])
  process = processes.gaussian(schedule)
  to_bits = _per_dim(x0)

  def noisy(n: Array) -> tuple[Array, Array, Array]:
    noise_keys = jax.vmap(jax.random.fold_in)(keys, n)
    xt = jax.vmap(process.corrupt)(noise_keys, x0, start[n])
    return xt, start[n], end[n]

  def term(n: Array) -> Array:
    xt, t, s = noisy(n)
    truth = jax.vmap(process.posterior)(xt, x0, t, s)
    return to_bits(jax.vmap(normal.kl)(*truth, *reverse(xt, t, s)))

  index = jnp.broadcast_to(jnp.arange(last)[:, None], (last, len(x0)))
  scale = 1.0
  if num_terms is not None:
    u = _stratified(keys, last, num_terms)
    index = jnp.minimum((u * last).astype(int), last - 1)
    scale = last / num_terms
  steps = scale * jax.lax.map(term, index)

  mean, variance = reverse(*noisy(jnp.full(len(x0), last)))
  return Bound(
    to_bits(_prior_kl(schedule, x0, start[0])),
    jnp.moveaxis(steps, 0, 1),
    to_bits(_negative_log_decoder(x0, mean, variance, bins)),
  )


def continuous_bound(
  denoiser: Denoiser,
  schedule: Schedule,
  keys: Array,
  x0: Array,
  *,
  num_terms: int = 1,
  t_min: float = 1e-5,
  t_max: float = 1 - 1e-5,
  bins: int | None = 256,
) -> Bound:
  """The bound of infinitely many steps.

    L_T + 1/2 E int SNR |x0 - x0_hat|^2 d log_snr + L_0

  The log-SNR itself is what is drawn, one from each of `num_terms` equal parts
  of its range: in t, -d log_snr / dt is without limit wherever sigma or alpha
  starts as a root or from 0, and the estimate's variance with it. The range
  ends short of t = 0 and 1, where it may be infinite; what is left out is
  L_0's and L_T's, so that the bound holds for any t_min and t_max. The
  decoder is N(x0_hat, (sigma / alpha)^2) at t_min.

  Args:
    denoiser: E[x0 | xt].
    schedule: the noise levels.
    keys: [B] one for each example.
    x0: [B, ...] in [-1, 1].
    num_terms: draws for each example, each one evaluation of the network.
    t_min, t_max: the range; the log-SNR is finite at both.
    bins: values a datum can have; None for continuous data.

  Returns:
    Bound, bits/dim; steps [B, num_terms], from high to low log-SNR.

  Raises:
    ValueError: num_terms < 1, or not 0 <= t_min < t_max <= 1.

  Source: VDM (Kingma et al. 2021) eq. 11-18 and appendix I.
  """
  if num_terms < 1:
    raise ValueError(f'num_terms must be at least 1, got {num_terms}')
  if not 0 <= t_min < t_max <= 1:
    raise ValueError(
      f'need 0 <= t_min < t_max <= 1, got t_min={t_min} and t_max={t_max}'
    )
  first, last = (schedules.log_snr(schedule, t) for t in (t_min, t_max))
  process = processes.gaussian(schedule)
  to_bits = _per_dim(x0)

  def noisy(n: Array, t: Array) -> tuple[Array, Array]:
    noise_keys = jax.vmap(lambda key: jax.random.fold_in(key, n))(keys)
    xt = jax.vmap(process.corrupt)(noise_keys, x0, t)
    return xt, t

  def term(draw: tuple[Array, Array]) -> Array:
    n, u = draw
    log_snr = first + u * (last - first)
    xt, t = noisy(n, schedules.inverse(schedule, log_snr))
    # The SNR at t: at a bend of a table, t is not exactly the inverse.
    snr = jnp.exp(schedules.log_snr(schedule, t))
    error = to_bits(jnp.square(x0 - denoiser(xt, t)))
    return 0.5 * (first - last) / num_terms * snr * error

  # Draws 0 .. num_terms - 1 are the terms', then the decoder's, then u's own.
  u = _stratified(keys, num_terms + 1, num_terms)
  steps = jax.lax.map(term, (jnp.arange(num_terms), u))

  x, t = noisy(jnp.asarray(num_terms), jnp.full(len(x0), t_min))
  variance = jnp.full_like(x0, jnp.exp(-first))
  return Bound(
    to_bits(_prior_kl(schedule, x0, t_max)),
    jnp.moveaxis(steps, 0, 1),
    to_bits(_negative_log_decoder(x0, denoiser(x, t), variance, bins)),
  )


def dequantize(key: Array, x0: Array, bins: int = 256) -> Array:
  """Uniform dequantisation: bin k becomes 2 (k + U[0, 1)) / bins - 1.

  A density of such data bounds the probability of the bins; `bits_per_dim`
  with the same bins is that bound. (Theis et al. 2016, section 3.1.)

  Args:
    x0: [...] of ONE example, bin k at -1 + 2 k / (bins - 1).

  Returns:
    [...] in [-1, 1).
  """
  k = jnp.round((x0 + 1.0) * (0.5 * (bins - 1)))
  return 2.0 * (k + jax.random.uniform(key, x0.shape)) / bins - 1.0


def bits_per_dim(
  log_density: Array, num_dims: int, bins: int | None = 256
) -> Array:
  """-log p / (D log 2), less the bits of a bin's width.

  The offset is log2(bins / 2): a bin is 2 / bins wide, so it is 7 bits for
  8-bit data dequantised into [-1, 1), and 0 for continuous data (bins None).

  Args:
    log_density: [B] nats.
    num_dims: D of one example.
  """
  offset = 0.0 if bins is None else np.log2(bins / 2)
  return -log_density / (num_dims * np.log(2)) + offset


def _stratified(keys: Array, stream: int, num: int) -> Array:
  """[num, B]: u[j] uniform over the j-th of num equal parts of [0, 1)."""
  draw = lambda key: jax.random.uniform(jax.random.fold_in(key, stream), (num,))
  u = jnp.arange(num)[:, None] + jnp.moveaxis(jax.vmap(draw)(keys), 0, 1)
  return u / num


def _prior_kl(schedule: Schedule, x0: Array, t: ArrayLike) -> Array:
  alpha, sigma = schedule(t)
  return normal.kl(alpha * x0, sigma**2, 0.0, sigma**2)


def _negative_log_decoder(
  x0: Array, mean: Array, variance: Array, bins: int | None
) -> Array:
  std = jnp.sqrt(variance)
  if bins is None:
    return -norm.logpdf(x0, mean, std)
  return -normal.discretized_log_likelihood(x0, mean, std, bins)


def _per_dim(x0: Array) -> Callable[[Any], Array]:
  """nats [B, ...] -> bits/dim [B]."""
  dims = tuple(range(1, x0.ndim))
  return lambda nats: jnp.mean(nats, axis=dims) / np.log(2)
