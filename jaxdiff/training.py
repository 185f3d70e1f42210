"""Training: the state, and the step that advances it.

  step(state, batch) -> (state, metrics)

Randomness is a function of (state.key, state.step, index in the global batch):
nothing else need be kept to resume, and the noise is the same however the batch
is divided over devices, hosts or microbatches.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from jaxdiff import averages
from jaxdiff.checks import number, whole
from jaxdiff.losses import Batch, Loss
from jaxdiff.losses.importance import Importance
from jaxdiff.losses.time_sampling import Positions, stratified

# See `make_train_step`.
Balance = Callable[[Any, Any, Array], tuple[Any, dict[str, Array]]]


class TrainState(NamedTuple):
  """A run as arrays; the functions are closed over."""

  step: Array  # int32 scalar, finished steps
  params: Any
  ema_params: Any
  opt_state: Any
  key: Array
  averages: tuple[Any, ...] = ()  # of parameters, one for each of `stds`
  losses: Any = ()  # the last ones, of importance sampling


class Task(NamedTuple):
  """A state and a step: everything that a training loop needs.

  init(key) -> TrainState; step(state, batch, frozen=None, axis_name=None) ->
  (state, metrics); frozen: see `make_train_step`; whole(params) -> those of the
  whole network, where `params` are a part of them.
  """

  init: Callable[[Array], TrainState]
  step: Callable[..., tuple[TrainState, dict[str, Array]]]
  frozen: Any = None
  whole: Callable[[Any], Any] = lambda params: params


def make_task(
  init: Callable[[Array], Any],
  loss: Loss,
  optimizer: optax.GradientTransformation,
  *,
  stds: Sequence[float] = (),
  frozen: Any = None,
  whole: Callable[[Any], Any] = lambda params: params,
  importance: Importance | None = None,
  **options: Any,
) -> Task:
  """Builds the task of a loss.

  Args:
    init: key -> params.
    loss: per example.
    optimizer: an optax chain.
    stds: widths of further averages of the parameters, see `averages`.
    frozen: parameters that the loss takes and that are not trained.
    whole: as in `Task`.
    importance: of the times, see `losses.importance`.
    **options: of `make_train_step`.
  """

  def init_all(key: Array) -> TrainState:
    init_key, key = jax.random.split(key)
    return init_state(init(init_key), optimizer, key, len(stds), importance)

  step = make_train_step(
    loss, optimizer, stds=stds, importance=importance, **options
  )
  return Task(init_all, step, frozen, whole)


def init_state(
  params: Any,
  optimizer: optax.GradientTransformation,
  key: Array,
  num_averages: int = 0,
  importance: Importance | None = None,
) -> TrainState:
  """Builds the state before the first step.

  Args:
    key: of all randomness in training.
    num_averages: of further averages.
    importance: that of the step, whose last losses the state keeps.
  """
  # An average is a copy: two names for one buffer would both die when the
  # first step is donated its state.
  copy = lambda: jax.tree.map(jnp.copy, params)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    ema_params=copy(),
    opt_state=optimizer.init(params),
    key=key,
    averages=tuple(copy() for _ in range(num_averages)),
    losses=importance.init() if importance else (),
  )


def ema_decay(
  step: ArrayLike, decay: ArrayLike, rampup: ArrayLike | None = None
) -> Array:
  """Computes min(decay, (1 + step) / (10 + step)), or EDM's warm-up.

  The warm-up keeps early weights, which are noise, out of the average.

  Args:
    step: Number of steps before this one.
    decay: At the end of the warm-up, in [0, 1).
    rampup: Largest half-life of the average, as a fraction of the steps before
      this one: min(decay, 2^(-1 / (rampup step))). EDM has 0.05.

  Source: `ema_rampup_ratio` of NVlabs/edm, training/training_loop.py.
  """
  if rampup is None:
    return jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  half_life = jnp.asarray(rampup * step, jnp.float32)
  return jnp.minimum(decay, 0.5 ** (1.0 / jnp.maximum(half_life, 1e-8)))


def make_train_step(
  loss: Loss,
  optimizer: optax.GradientTransformation,
  *,
  decay: float = 0.9999,
  rampup: float | None = None,
  accumulate: int = 1,
  positions: Positions = stratified,
  stds: Sequence[float] = (),
  balance: Balance | None = None,
  importance: Importance | None = None,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
  """Builds step(state, batch, frozen=None, axis_name=None) -> (state, metrics).

  Args:
    decay: of the exponential moving average of the parameters, warmed up.
    rampup: of the warm-up, see `ema_decay`.
    accumulate: microbatches a step is cut into; the gradient is that of the
      whole batch, the memory that of one.
    positions: of `losses.time_sampling`: `independent`, `stratified` or
      `antithetic`, from which each example's time is made.
    stds: widths of the averages in the state beside that of `decay`.
    balance: of a loss with a metric 'adversarial', whose gradient is taken too:
      (gradient of the loss, that of the metric, step) -> (the gradient,
      metrics). Both are means over the whole batch.
    importance: draws the positions again, by the losses in the state. It is
      given to `init_state` too.

  Returns:
    The step. `axis_name` names the pmap axis, where there is one; the step is
    then given its part of the batch, and takes the gradients' mean over the
    axis. `frozen` is put into the batch of the loss, whole for each microbatch.
    metrics: 'loss' and 'grad_norm' scalars, and the loss's own, averaged.
  """

  number('decay', decay, '[0, 1)')
  if rampup is not None:
    number('rampup', rampup, '(0, 1]')
  whole('accumulate', accumulate, 1)

  def mean_loss(
    params: Any, key: Array, index: Array, batch: Batch
  ) -> tuple[Array, Any]:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
    if not importance:
      per_example, metrics = loss(params, keys, batch)
      return jnp.mean(per_example), (jax.tree.map(jnp.mean, metrics), ())
    batch = dict(batch)
    weights = batch.pop('weights')
    per_example, metrics = loss(params, keys, batch)

    def mean(x: Array) -> Array:
      return jnp.mean(weights * x if x.shape == weights.shape else x)

    return mean(per_example), (jax.tree.map(mean, metrics), per_example)

  def gradient(*args: Any) -> Any:
    found = jax.value_and_grad(mean_loss, has_aux=True)(*args)
    if balance is None:
      return found
    term = lambda *args: mean_loss(*args)[1][0]['adversarial']
    return found[0], (found[1], jax.grad(term)(*args))

  def accumulated(
    params: Any, key: Array, index: Array, batch: Batch, frozen: Any
  ) -> Any:
    """Computes means (loss, metrics, gradients), and the losses themselves."""
    more = {} if frozen is None else {'frozen': frozen}

    def one(part: Any) -> Any:
      index, batch = part
      batch = {**batch, **more}
      found, grads = gradient(params, key, index, batch)
      value, (metrics, each) = found
      return (value, metrics, grads), each

    if accumulate == 1:
      return one((index, batch))
    # Microbatch j takes examples j, j + accumulate, ...: a batch divided over
    # devices stays where it is.
    cut = lambda x: jnp.swapaxes(x.reshape(-1, accumulate, *x.shape[1:]), 0, 1)
    parts = jax.tree.map(cut, (index, batch))
    first, _ = jax.eval_shape(one, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)

    def add(total: Any, part: Any) -> tuple[Any, Any]:
      found, each = one(part)
      return jax.tree.map(jnp.add, total, found), each

    total, each = jax.lax.scan(add, zeros, parts)
    each = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1), each)
    return jax.tree.map(lambda x: x / accumulate, total), each

  def step(
    state: TrainState,
    batch: Batch,
    frozen: Any = None,
    axis_name: str | None = None,
  ) -> tuple[TrainState, dict[str, Array]]:
    size = len(jax.tree.leaves(batch)[0])
    index, total = jnp.arange(size), size
    if axis_name:
      index = index + jax.lax.axis_index(axis_name) * size
      total = size * jax.lax.axis_size(axis_name)

    step_key = jax.random.fold_in(state.key, state.step)
    example_key, time_key = jax.random.split(step_key)
    steps = jnp.broadcast_to(state.step, (size,))
    batch = {**batch, 'u': positions(time_key, index, total), 'step': steps}
    if importance:
      u, weights = importance.draw(state.losses, batch['u'])
      batch = {**batch, 'u': u, 'weights': weights}
    means, each = accumulated(state.params, example_key, index, batch, frozen)
    if axis_name:
      means = jax.lax.pmean(means, axis_name)
    value, metrics, grads = means
    losses = state.losses
    if importance:
      seen = (batch['u'], each)
      if axis_name:
        seen = jax.lax.all_gather(seen, axis_name, tiled=True)
      losses = importance.update(losses, *seen)
    if balance:
      grads, more = balance(*grads, state.step)
      metrics = {**metrics, **more}

    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)

    def averaged(old: Any, rate: Array) -> Any:
      average = lambda ema, new: ema + rate.astype(ema.dtype) * (new - ema)
      return jax.tree.map(average, old, params)

    forget = 1.0 - ema_decay(state.step, decay, rampup)
    ema_params = averaged(state.ema_params, forget)
    others = tuple(
      averaged(old, averages.rate(state.step, std))
      for old, std in zip(state.averages, stds, strict=True)
    )
    metrics = {'loss': value, 'grad_norm': optax.global_norm(grads), **metrics}
    return TrainState(
      state.step + 1, params, ema_params, opt_state, state.key, others, losses
    ), metrics

  return step
