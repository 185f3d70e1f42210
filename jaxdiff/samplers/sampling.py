"""The sampling loop, ancestral sampling and DDIM.

Sample i depends on its own key and on nothing else in the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff import processes
from jaxdiff.checks import number
from jaxdiff.predictions import Apply, Kind, clean_apply
from jaxdiff.processes import Process
from jaxdiff.schedules import Schedule

Denoiser = Callable[[Any, Array], Any]
Step = Callable[[Denoiser, Array, Any, Array, Array], Any]


class Solver(NamedTuple):
  """A step with a memory: `sample` carries its state beside x."""

  init: Callable[[Any], Any]  # x -> state
  step: Callable[..., tuple[Any, Any]]  # Step's arguments, state -> xs, state


def as_solver(step: Step | Solver) -> Solver:
  """Makes a Solver without memory of a Step; returns a Solver as it is."""
  if isinstance(step, Solver):
    return step
  if not callable(step):
    raise ValueError(f'a step must be a function or a Solver, got {step!r}')
  return Solver(lambda x: (), lambda *args: (step(*args[:-1]), ()))


def estimate(denoiser: Denoiser, xt: Array, t: ArrayLike) -> Array:
  """Evaluates the denoiser at one time for the whole batch. [B, ...]"""
  return denoiser(xt, jnp.broadcast_to(t, xt.shape[:1]))


def denoiser(
  apply: Apply, kind: Kind, schedule: Schedule, params: Any, cond: Any = None
) -> Denoiser:
  """Builds a Denoiser of a network: its prediction, turned into E[x0 | xt].

  Args:
    apply: the network, (params, xt[B, ...], t[B], cond).
  """
  clean = clean_apply(apply, kind, schedule)
  return lambda xt, t: clean(params, xt, t, cond or {})


def ancestral(process: Process, variance: Denoiser | None = None) -> Step:
  """Builds ancestral sampling: estimate x0, then draw from the reverse process.

  For `processes.gaussian` on a table of betas and `uniform_times(T)` this is
  DDPM's algorithm 2; it serves any process and any s < t alike.

  Args:
    variance: of `gaussian(.., 'learned')`: (xt[B, ...], t[B]) -> v, the
      network's second output.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from jaxdiff import processes, samplers
    >>> from jaxdiff.schedules import mixing
    >>> step = samplers.ancestral(processes.absorbing(mixing.linear(), 3))
    >>> logits = jnp.array([0.0, 50.0, 0.0, 0.0])
    >>> denoiser = lambda xt, t: jnp.broadcast_to(logits, (*xt.shape, 4))
    >>> masks = jnp.full((1, 5), 3)
    >>> keys = jax.random.split(jax.random.key(0), 1)
    >>> times = samplers.uniform_times(4)
    >>> samplers.sample(step, denoiser, keys, masks, times).tolist()
    [[1, 1, 1, 1, 1]]
  """
  if variance is not None and not callable(variance):
    raise ValueError(f'variance must be a function or None, got {variance!r}')

  def step(denoiser: Denoiser, keys: Array, xt: Any, t: Array, s: Array) -> Any:
    time = jnp.broadcast_to(t, keys.shape)
    estimate = denoiser(xt, time)
    if variance is not None:
      estimate = estimate, variance(xt, time)
    reverse = jax.vmap(process.reverse, in_axes=(0, 0, 0, None, None))
    return reverse(keys, xt, estimate, t, s)

  return step


def ancestral_interpolated(schedule: Schedule, fraction: float = 0.3) -> Step:
  """Builds ancestral sampling with a variance between the small and the large.

  Its logarithm is f log(large) + (1 - f) log(small), for the same f in every
  step: 0 is `gaussian(schedule, 'small')`, 1 is 'large'.

  Args:
    fraction: f, in [0, 1].

  Source: classifier-free guidance (Ho & Salimans 2022), algorithm 2, whose v is
  f; 0.3 in its section 4.
  """
  number('fraction', fraction, '[0, 1]')
  process = processes.gaussian(schedule, 'learned')
  # The second output of a network that would have learned f.
  v = lambda xt, t: jnp.full_like(xt, 2 * fraction - 1)
  return ancestral(process, variance=v)


def eps_of(schedule: Schedule, xt: Array, x0: Array, t: Array) -> Array:
  """Computes the noise (xt - alpha x0) / sigma; 0 where sigma is. [...]"""
  alpha, sigma = schedule(t)
  return (xt - alpha * x0) / jnp.where(sigma == 0, 1.0, sigma)


def ddim(schedule: Schedule, eta: ArrayLike = 0.0) -> Step:
  """Builds DDIM: from the estimate of x0 and its noise straight to s.

    xs = alpha_s x0 + sqrt(sigma_s^2 - var) eps + sqrt(var) z,
    var = eta^2 (the posterior's variance).

  eta = 0 is deterministic, eta = 1 equals `ancestral(gaussian(schedule))`.

  Args:
    eta: in [0, 1]; may be traced.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from jaxdiff import samplers, schedules
    >>> step = samplers.ddim(schedules.cosine())
    >>> xt, keys = jnp.ones((2, 3)), jax.random.split(jax.random.key(0), 2)
    >>> step(lambda xt, t: 0.5 * xt, keys, xt, 0.5, 0.4).shape
    (2, 3)

  Source: DDIM (Song et al. 2021) eq. 12, 16.
  """
  number('eta', eta, '[0, 1]')

  def one(key: Array, xt: Array, x0: Array, t: Array, s: Array) -> Array:
    alpha, sigma = schedule(s)
    r = processes.snr_ratio(schedule, t, s)
    var = eta**2 * (sigma**2 * jnp.maximum(1.0 - r, 0.0))
    # sqrt(sigma^2 - var), without the difference of near numbers at eta = 1.
    kept = sigma * jnp.sqrt((1.0 - eta**2) + eta**2 * r)
    xs = alpha * x0 + kept * eps_of(schedule, xt, x0, t)
    return xs + jnp.sqrt(var) * jax.random.normal(key, xt.shape)

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array
  ) -> Array:
    x0 = denoiser(xt, jnp.broadcast_to(t, keys.shape))
    return jax.vmap(one, in_axes=(0, 0, 0, None, None))(keys, xt, x0, t, s)

  return step


def recalling(
  step: Step | Solver, denoiser: Callable[[Array], Denoiser]
) -> Solver:
  """Builds a step whose denoiser reads the estimate of the step before.

  The denoiser that `sample` is given is not used.

  Args:
    step: of any kind.
    denoiser: x0 [B, ...], zero at first, -> the Denoiser of this step. It is
      evaluated at xt once more where the compiler does not see that it is the
      same.

  Source: Chen et al. 2022 (arXiv:2208.04202), algorithm 2, self-conditioning.
  """
  solver = as_solver(step)

  def recall(
    unused: Denoiser, keys: Array, xt: Array, t: Array, s: Array, state: Any
  ) -> tuple[Array, Any]:
    del unused
    inner, x0 = state
    denoise = denoiser(x0)
    xs, inner = solver.step(denoise, keys, xt, t, s, inner)
    return xs, (inner, estimate(denoise, xt, t))

  return Solver(lambda x: (solver.init(x), jnp.zeros_like(x)), recall)


def denoised_last(step: Step | Solver, last: float = 0.0) -> Solver:
  """Builds a step that ends with the estimate of x0: noise removal.

  x at the last time still has the noise of that time, which a schedule such as
  EDM's does not let go to 0. The last step is followed by one evaluation of the
  denoiser there, which equals an Euler step of the ODE to no noise.

  Args:
    step: Of any kind, for data of real numbers.
    last: The last of the times, at and below which xs becomes E[x0 | xs].

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from jaxdiff import samplers, schedules
    >>> step = samplers.denoised_last(samplers.ddim(schedules.cosine()))
    >>> x, keys = jnp.ones((2, 3)), jax.random.split(jax.random.key(0), 2)
    >>> half = lambda xt, t: jnp.full_like(xt, 0.5)
    >>> bool((samplers.sample(step, half, keys, x, [1.0, 0.0]) == 0.5).all())
    True

  Source: Karras et al. 2022 (arXiv:2206.00364), algorithm 1 with t_N = 0;
  Jolicoeur-Martineau et al. 2021 (arXiv:2009.05475), section 3.1.
  """
  solver = as_solver(step)

  def denoised(
    denoiser: Denoiser, keys: Array, xt: Any, t: Array, s: Array, state: Any
  ) -> tuple[Any, Any]:
    xs, state = solver.step(denoiser, keys, xt, t, s, state)
    clean = lambda x: estimate(denoiser, x, s)
    return jax.lax.cond(s <= last, clean, lambda x: x, xs), state

  return Solver(solver.init, denoised)


def sample_keys(seed: ArrayLike, index: Array) -> tuple[Array, Array]:
  """Derives the keys of samples `index`: functions of (seed, i) alone.

  Args:
    seed: integer, or one for each sample [B]; may be traced.
    index: [B] which samples.

  Returns:
    (prior_keys [B], step_keys [B]): one for x at t = 1, one for `sample`.
  """

  def one(seed: Array, i: Array) -> tuple[Array, Array]:
    return tuple(jax.random.split(jax.random.fold_in(jax.random.key(seed), i)))

  index = jnp.asarray(index)
  return jax.vmap(one)(jnp.broadcast_to(seed, index.shape), index)


def sample(
  step: Step | Solver,
  denoiser: Denoiser,
  keys: Array,
  x_init: Any,
  times: ArrayLike,
  *,
  trajectory: bool = False,
) -> Any:
  """Carries x from times[0] to times[-1], one `lax.scan`.

  Args:
    step: a Step, or a Solver with its memory.
    denoiser: the estimate of x0, called once or more for a step.
    keys: [B] one for each sample; step n uses fold_in(key, n).
    x_init: [B, ...] at times[0], usually the process's prior.
    times: [N + 1] decreasing; increasing for `solvers.encode`.
    trajectory: return every x on the way.

  Returns:
    x at times[-1], [B, ...]; with `trajectory` x at all times, [N + 1, B, ...].

  Example:
    >>> import jax
    >>> from jaxdiff import processes, samplers, schedules
    >>> schedule = schedules.cosine()
    >>> step = samplers.ancestral(processes.gaussian(schedule))
    >>> keys, times = samplers.sample_keys(0, range(4))[1], [1.0, 0.5, 0.0]
    >>> x = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    >>> samplers.sample(step, lambda xt, t: 0.1 * xt, keys, x, times).shape
    (4, 8, 8, 1)
  """
  chex.assert_equal_shape_prefix([keys, *jax.tree.leaves(x_init)], 1)
  times = jnp.asarray(times)
  solver = as_solver(step)

  def body(
    carry: tuple[Any, Any], now: tuple[Array, Array, Array]
  ) -> tuple[tuple[Any, Any], Any]:
    xt, state = carry
    n, t, s = now
    step_keys = jax.vmap(lambda key: jax.random.fold_in(key, n))(keys)
    xs, state = solver.step(denoiser, step_keys, xt, t, s, state)
    return (xs, state), xs if trajectory else None

  num_steps = len(times) - 1
  (x, _), path = jax.lax.scan(
    body,
    (x_init, solver.init(x_init)),
    (jnp.arange(num_steps), times[:-1], times[1:]),
  )
  if not trajectory:
    return x
  stack = lambda first, rest: jnp.concatenate([first[None], rest])
  return jax.tree.map(stack, x_init, path)
