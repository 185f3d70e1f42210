"""The variational bound of categories, in bits per element of one example.

Of any process with `terms`. Along decreasing times t_0 > ... > t_N = 0

  -log p(x0) <= KL(q(x_{t_0} | x0) || prior) + sum_n E KL(q(xs | xt, x0) ||
                p(xs | xt)),

the last of which, at s = 0, is the decoder's -E log p(x0 | xt); in continuous
time the sum is an integral over t, and there is no decoder: at t = 0 nothing is
left to decode. The model is a product over elements at each step, so with an
exact p(x0 | xt) the bound of N steps is the likelihood itself for one element,
falls towards it as N grows for several, and is it in continuous time, where no
two elements move at once.

An element is a character, a pixel, an edge; what `mask` leaves out is not
counted. Examples of different length have different numbers of elements: the
bits per character of a corpus are the bound's mean weighted by `elements`, and
its standard error that of the ratio.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.likelihood.bound import Bound
from jaxdiff.losses.categorical import corrupted, real
from jaxdiff.processes import Process, tally
from jaxdiff.samplers import Denoiser


def variational_bound(
  process: Process,
  denoiser: Denoiser,
  keys: Array,
  x0: Any,
  times: ArrayLike,
  *,
  mask: Any = None,
  num_terms: int | None = None,
) -> Bound:
  """The bound of a chain of N steps, each term at one draw of the noise.

  Args:
    process: one with terms.
    denoiser: its estimate, e.g. logits [B, ..., K].
    keys: [B] one for each example; term n uses fold_in(key, n).
    x0: int [B, ...], or a tree.
    times: [N + 1] decreasing to 0, e.g. `samplers.uniform_times(N)`.
    mask: bool, a tree like x0: true where an element exists; None is all.
    num_terms: None for all N - 1 steps before the last. Otherwise this many of
      them, one from each of `num_terms` equal parts of the grid and scaled such
      that their sum is unbiased.

  Returns:
    Bound, bits per element; steps [B, N - 1] or [B, num_terms], data [B] the
    last step's.

  Raises:
    ValueError: times not decreasing to 0, or num_terms < 1.

  Source: D3PM (Austin et al. 2021) eq. 1.
  """
  times = np.asarray(times, np.float32)
  if times.ndim != 1 or times[-1] != 0 or not (np.diff(times) < 0).all():
    raise ValueError(f'times must decrease to 0, got {times}')
  if num_terms is not None and num_terms < 1:
    raise ValueError(f'num_terms must be at least 1 or None, got {num_terms}')
  start, end = jnp.asarray(times[:-1]), jnp.asarray(times[1:])
  last, size = len(times) - 2, len(keys)

  def term(n: Array) -> Array:
    t, s = start[n], end[n]
    noise_keys = jax.vmap(jax.random.fold_in)(keys, n)
    xt = corrupted(process, noise_keys, x0, mask, t)
    estimate = denoiser(xt, t)
    nats = jax.vmap(process.terms.step)(
      real(mask, xt), real(mask, x0), estimate, t, s
    )
    return _bits(process, nats, x0, mask)

  index = jnp.broadcast_to(jnp.arange(last)[:, None], (last, size))
  scale = 1.0
  if num_terms is not None:
    u = _stratified(keys, last + 1, num_terms)
    index = jnp.minimum((u * last).astype(int), last - 1)
    scale = last / num_terms
  steps = scale * jax.lax.map(term, index)
  return Bound(
    _prior(process, x0, mask),
    jnp.moveaxis(steps, 0, 1),
    term(jnp.full(size, last)),
  )


def continuous_bound(
  process: Process,
  denoiser: Denoiser,
  keys: Array,
  x0: Any,
  *,
  mask: Any = None,
  num_terms: int = 1,
) -> Bound:
  """The bound of infinitely many steps, the rate at `num_terms` times.

  Args:
    process: one with terms.
    denoiser: its estimate, e.g. logits [B, ..., K].
    keys: [B] one for each example.
    x0: int [B, ...], or a tree.
    mask: bool, a tree like x0: true where an element exists; None is all.
    num_terms: draws of t for each example, one from each of so many equal parts
      of [0, 1].

  Returns:
    Bound, bits per element; steps [B, num_terms], data 0.

  Raises:
    ValueError: num_terms < 1.

  Source: MDLM (Sahoo et al. 2024) eq. 10; Campbell et al. 2022, proposition 2.
  """
  if num_terms < 1:
    raise ValueError(f'num_terms must be at least 1, got {num_terms}')

  def term(draw: tuple[Array, Array]) -> Array:
    n, t = draw
    noise_keys = jax.vmap(lambda key: jax.random.fold_in(key, n))(keys)
    xt = corrupted(process, noise_keys, x0, mask, t)
    estimate = denoiser(xt, t)
    nats = jax.vmap(process.terms.rate)(
      real(mask, xt), real(mask, x0), estimate, t
    )
    return _bits(process, nats, x0, mask) / num_terms

  # (0, 1], not [0, 1): at 0 nothing is noised.
  t = 1.0 - _stratified(keys, num_terms, num_terms)
  steps = jax.lax.map(term, (jnp.arange(num_terms), t))
  prior = _prior(process, x0, mask)
  return Bound(prior, jnp.moveaxis(steps, 0, 1), jnp.zeros_like(prior))


def elements(process: Process, x0: Any, mask: Any = None) -> Array:
  """How many elements of each example are counted, [B] int."""
  x0 = real(mask, x0)
  zero = jax.tree.map(jnp.zeros_like, x0)
  count = lambda zero, x0, mask: tally(process, zero, x0, mask)[1]
  return jax.vmap(count)(zero, x0, mask)


def _prior(process: Process, x0: Any, mask: Any) -> Array:
  nats = jax.vmap(process.terms.prior)(real(mask, x0))
  return _bits(process, nats, x0, mask)


def _bits(process: Process, nats: Any, x0: Any, mask: Any) -> Array:
  total, count = jax.vmap(lambda *args: tally(process, *args))(
    nats, real(mask, x0), mask
  )
  return total / (jnp.maximum(count, 1) * np.log(2))


def _stratified(keys: Array, stream: int, num: int) -> Array:
  """[num, B]: u[j] uniform over the j-th of num equal parts of [0, 1)."""
  draw = lambda key: jax.random.uniform(jax.random.fold_in(key, stream), (num,))
  u = jnp.arange(num)[:, None] + jnp.moveaxis(jax.vmap(draw)(keys), 0, 1)
  return u / num
