"""Variational bound on -log p(x0), term by term, in bits per element.

Along decreasing times t_0 > t_1 > ... > t_N = 0 a diffusion model is a
hierarchical latent variable model with x at t_0, ..., t_{N-1} as its latents,
and its evidence bound is

  -log p(x0) <= L_T + sum_n L_n + L_0                       (DDPM, eq. 5)

  L_T = KL(q(x_{t_0} | x0) || prior)                        the prior's
  L_n = E KL(q(xs | xt, x0) || p(xs | xt))                  s = t_{n+1}, t = t_n
  L_0 = -E log p(x0 | x_{t_{N-1}})                          the decoder's.

As N grows, sum_n L_n becomes an integral over time. For Gaussian noise, with
the log-SNR l, it is

  1/2 E int SNR(l) |x0 - x0_hat|^2 dl                       (VDM, eq. 11-18).

For categories the model of each step is a product over elements. With an exact
p(x0 | xt) the bound of N steps is the likelihood itself for one element, falls
towards it as N grows for several, and equals it in continuous time, where no
two elements move at once.

An element is a value of a pixel, a character, an edge. Elements outside `mask`
are not counted; the bits per character of a corpus are the mean of the bound
weighted by `elements`. For Gaussian noise `bins` of the process decides what is
bounded: the probability of 8-bit data (256), or the density of continuous data
(None).

Example i meets the noise of keys[i] alone, whatever the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff import schedules
from jaxdiff.checks import whole
from jaxdiff.losses.elbo import corrupted, real
from jaxdiff.processes import Process, decoder, tally

# (xt[B, ...], t[B]) -> what `process.reverse` takes: a Denoiser's E[x0 | xt] or
# logits, or for a learned variance the pair (E[x0 | xt], v).
Estimator = Callable[[Any, Array], Any]


class Bound(NamedTuple):
  """Terms of a bound, in bits per element; `total` is their sum, [B]."""

  prior: Array  # [B], L_T
  steps: Array  # [B, K], K terms that sum to sum_n L_n, or estimate it
  data: Array  # [B], L_0

  @property
  def total(self) -> Array:
    return self.prior + jnp.sum(self.steps, axis=1) + self.data


def variational_bound(
  process: Process,
  estimator: Estimator,
  keys: Array,
  x0: Any,
  times: ArrayLike,
  *,
  mask: Any = None,
  num_terms: int | None = None,
) -> Bound:
  """Computes the bound of a chain of N steps, each term at one noise draw.

  The network is compiled twice (for the L_n, one `lax.map`, and for L_0),
  whatever the number of terms.

  Args:
    process: one with terms.
    estimator: the model.
    keys: [B] one for each example; term n uses fold_in(key, n).
    x0: [B, ...] or a tree; for Gaussian noise with bins, the bins' centres.
    times: [N + 1] decreasing to 0, e.g. `samplers.uniform_times(N)`: the T
      steps of a table, or fewer.
    mask: bool, a tree like x0: true where an element exists; None is all.
    num_terms: None for all N - 1 of the L_n. Otherwise this many of them for
      each example, drawn one from each of `num_terms` equal parts of the grid
      and scaled such that their sum is unbiased.

  Returns:
    Bound, bits per element; steps [B, N - 1] in the order of times, or [B,
    num_terms].

  Raises:
    ValueError: no terms, times not decreasing to 0, or num_terms not in
      [1, N].

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from jaxdiff import likelihood, processes, samplers, schedules
    >>> process = processes.gaussian(schedules.cosine())
    >>> denoiser = lambda xt, t: jnp.zeros_like(xt)  # knows nothing
    >>> keys, x0 = jax.random.split(jax.random.key(0), 2), jnp.zeros((2, 4))
    >>> bound = likelihood.variational_bound(
    ...   process, denoiser, keys, x0, samplers.uniform_times(10)
    ... )
    >>> bound.total.shape
    (2,)

  Source: DDPM (Ho et al. 2020) eq. 5, 13; at random terms, iDDPM (Nichol &
  Dhariwal 2021) section 3.3; for categories, D3PM (Austin et al. 2021) eq. 1.
  """
  _check(process, num_terms)
  times = np.asarray(times, np.float32)
  falls = times.ndim == 1 and len(times) > 1 and (np.diff(times) < 0).all()
  if not falls or times[-1] != 0:
    raise ValueError(f'times must decrease to 0, got {times}')
  last, size = len(times) - 2, len(keys)
  if num_terms is not None and num_terms > last + 1:
    raise ValueError(
      f'num_terms must be at most the number of steps, {last + 1}, got '
      f'{num_terms}'
    )
  start, end = jnp.asarray(times[:-1]), jnp.asarray(times[1:])

  bits = _evaluation(process, process.terms.step, estimator, x0, mask)
  decode = _evaluation(process, decoder(process.terms), estimator, x0, mask)
  at_end = jnp.full(size, last)

  def term(n: Array) -> Array:
    return bits(jax.vmap(jax.random.fold_in)(keys, n), start[n], end[n])

  index = jnp.broadcast_to(jnp.arange(last)[:, None], (last, size))
  scale = 1.0
  if num_terms is not None:
    # The stream of Gaussian noise is another one, so that a seed has the same
    # random terms as ever.
    stream = last + (process.terms.schedule is None)
    u = _stratified(keys, stream, num_terms)
    index = jnp.minimum((u * last).astype(int), last - 1)
    scale = last / num_terms
  steps = scale * jax.lax.map(term, index)
  return Bound(
    _prior(process, x0, mask, start[0]),
    jnp.moveaxis(steps, 0, 1),
    decode(jax.vmap(jax.random.fold_in)(keys, at_end), start[at_end]),
  )


def continuous_bound(
  process: Process,
  estimator: Estimator,
  keys: Array,
  x0: Any,
  *,
  mask: Any = None,
  num_terms: int = 1,
) -> Bound:
  """Computes the bound of infinitely many steps, the rate at random times.

  For Gaussian noise the log-SNR itself is drawn, evenly: in t, -d log_snr / dt
  is without limit wherever sigma or alpha starts as a root or from 0, and the
  variance of the estimate with it. The range of t (`Terms.ends`) stops short of
  0 and 1, where the log-SNR may be infinite; what is left out is L_0's and
  L_T's, so the bound holds for any ends. For categories t is drawn from (0, 1],
  and nothing is left to decode at t = 0.

  Args:
    process, estimator, keys, x0, mask: see `variational_bound`.
    num_terms: draws for each example, each one evaluation of the network, one
      from each of so many equal parts of the range.

  Returns:
    Bound, bits per element; steps [B, num_terms].

  Raises:
    ValueError: no terms, or num_terms < 1.

  Source: VDM (Kingma et al. 2021) eq. 11-18 and appendix I; for categories,
  MDLM (Sahoo et al. 2024) eq. 10, Campbell et al. 2022, proposition 2.
  """
  _check(process, num_terms)
  terms, size = process.terms, len(keys)
  t_min, t_max = terms.ends
  fold = lambda n: jax.vmap(lambda key: jax.random.fold_in(key, n))(keys)
  rate = _evaluation(process, terms.rate, estimator, x0, mask)

  def term(drawn: tuple[Array, Array]) -> Array:
    n, u = drawn
    if terms.schedule is None:
      span = t_max - t_min
      return span * rate(fold(n), t_max - span * u) / num_terms
    log_snr = lambda t: schedules.log_snr(terms.schedule, t)
    first, last = log_snr(t_min), log_snr(t_max)
    t = schedules.inverse(terms.schedule, first + u * (last - first))
    # The SNR at t: at a bend of a table, t is not exactly the inverse.
    weight = 0.5 * (first - last) / num_terms * jnp.exp(log_snr(t))
    return weight * rate(fold(n), t)

  # Streams 0 .. num_terms - 1 are the terms', then the decoder's, then u's.
  decodes = t_min > 0
  u = _stratified(keys, num_terms + decodes, num_terms)
  steps = jax.lax.map(term, (jnp.arange(num_terms), u))
  data = jnp.zeros(size)
  if decodes:
    decode = _evaluation(process, decoder(terms), estimator, x0, mask)
    data = decode(fold(num_terms), jnp.full(size, t_min))
  prior = _prior(process, x0, mask, t_max)
  return Bound(prior, jnp.moveaxis(steps, 0, 1), data)


def elements(process: Process, x0: Any, mask: Any = None) -> Array:
  """Counts the elements of each example that a bound is a mean over. [B] int"""
  x0 = real(mask, x0)
  zero = jax.tree.map(jnp.zeros_like, x0)
  count = lambda zero, x0, mask: tally(process, zero, x0, mask)[1]
  return jax.vmap(count)(zero, x0, mask)


def dequantize(key: Array, x0: Array, bins: int = 256) -> Array:
  """Dequantises uniformly: bin k becomes 2 (k + U[0, 1)) / bins - 1.

  A density of such data bounds the probability of the bins; `bits_per_dim` with
  the same bins is that bound. (Theis et al. 2016, section 3.1.)

  Args:
    x0: [...] one example, bin k at -1 + 2 k / (bins - 1).
  """
  whole('bins', bins, 2)
  k = jnp.round((x0 + 1.0) * (0.5 * (bins - 1)))
  return 2.0 * (k + jax.random.uniform(key, x0.shape)) / bins - 1.0


def bits_per_dim(
  log_density: Array, num_dims: int, bins: int | None = 256
) -> Array:
  """Computes -log p / (D log 2), less the bits of a bin's width. [B]

  The offset is log2(bins / 2): a bin is 2 / bins wide, so it is 7 bits for
  8-bit data dequantised into [-1, 1), and 0 for continuous data (bins None).

  Args:
    log_density: [B] nats.
    num_dims: D of one example.
  """
  whole('num_dims', num_dims, 1)
  if bins is not None:
    whole('bins', bins, 2)
  offset = 0.0 if bins is None else np.log2(bins / 2)
  return -log_density / (num_dims * np.log(2)) + offset


def _check(process: Process, num_terms: int | None) -> None:
  if process.terms is None:
    raise ValueError('a bound needs a process with terms, and this has none')
  if num_terms is not None:
    whole('num_terms', num_terms, 1)


def _stratified(keys: Array, stream: int, num: int) -> Array:
  """Draws [num, B]: u[j] uniform over the j-th of num parts of [0, 1)."""
  draw = lambda key: jax.random.uniform(jax.random.fold_in(key, stream), (num,))
  u = jnp.arange(num)[:, None] + jnp.moveaxis(jax.vmap(draw)(keys), 0, 1)
  return u / num


def _evaluation(
  process: Process,
  term: Callable[..., Any],
  estimator: Estimator,
  x0: Any,
  mask: Any,
) -> Callable[..., Array]:
  """Builds (keys[B], t[B], *s[B]) -> a term at a draw of xt, bits [B]."""

  def evaluate(keys: Array, t: Array, *s: Array) -> Array:
    xt = corrupted(process, keys, x0, mask, t)
    estimate = estimator(xt, t)
    nats = jax.vmap(term)(real(mask, xt), real(mask, x0), estimate, t, *s)
    return _bits(process, nats, x0, mask)

  return evaluate


def _prior(process: Process, x0: Any, mask: Any, t: ArrayLike) -> Array:
  nats = jax.vmap(process.terms.prior, (0, None))(real(mask, x0), t)
  return _bits(process, nats, x0, mask)


def _bits(process: Process, nats: Any, x0: Any, mask: Any) -> Array:
  if process.terms.schedule is not None and mask is None:
    # Not a sum over D log 2, which rounds otherwise.
    return jnp.mean(nats, axis=tuple(range(1, nats.ndim))) / np.log(2)
  total, count = jax.vmap(lambda *args: tally(process, *args))(
    nats, real(mask, x0), mask
  )
  return total / (jnp.maximum(count, 1) * np.log(2))
