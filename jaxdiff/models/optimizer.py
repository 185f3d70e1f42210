"""The optimizer of a configuration, an optax chain, and its learning rates."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdiff import names
from jaxdiff.checks import number, whole
from jaxdiff.config import Autoencoding, Config, Optimizer, registry
from jaxdiff.losses import DISCRIMINATOR, importance, time_sampling


def make(c: Optimizer, num_steps: int) -> optax.GradientTransformation:
  """Builds gradient clipping and the optimizer of optax that is named.

  Args:
    c: of the configuration.
    num_steps: of the run, over which the learning rate decays.
  """
  optimizer = names.make(
    registry.OPTIMIZERS,
    c.name,
    '--optimizer.name',
    learning_rate=rate(c, num_steps),
    b1=c.b1,
    b2=c.b2,
    eps=c.eps,
    weight_decay=c.weight_decay,
  )
  if not isinstance(optimizer, optax.GradientTransformation):
    raise ValueError(
      f'--optimizer.name {c.name} must build an optimizer of optax, got '
      f'{optimizer!r}'
    )
  parts = [optimizer]
  if c.clip_norm:
    parts.insert(0, clip(c.clip_norm))
  if c.unit_weights:
    from jaxdiff.networks import edm2

    parts.append(constrained(edm2.constrain))
  return optax.chain(*parts) if len(parts) > 1 else optimizer


def step_options(config: Config) -> dict[str, Any]:
  """Returns the options of `training.make_task`: averages, batches, times."""
  c, diffusion = config.training, config.diffusion
  options = {
    'decay': c.ema_decay,
    'rampup': c.ema_rampup,
    'stds': c.ema_stds,
    'accumulate': c.accumulate,
    'positions': getattr(time_sampling, diffusion.positions),
  }
  if diffusion.importance:
    options['importance'] = importance.second_moment(diffusion.num_steps)
  if isinstance(diffusion, Autoencoding) and diffusion.adversary:
    from jaxdiff.losses import adversarial

    weight, first = diffusion.adversarial_weight, diffusion.adversarial_start
    options['balance'] = adversarial.balance(weight, first)
  return options


def rate(c: Optimizer, num_steps: int) -> optax.Schedule:
  """Builds the learning rate of a step: a linear warm-up, then its schedule."""
  warmup = warmup_steps(c, num_steps)
  decay = names.make(
    registry.LEARNING_RATES,
    c.schedule,
    '--optimizer.schedule',
    peak=c.learning_rate,
    num_steps=num_steps - warmup,
  )
  if not warmup:
    return decay
  rising = optax.linear_schedule(0.0, c.learning_rate, warmup)
  return optax.join_schedules([rising, decay], [warmup])


def constant(peak: float) -> optax.Schedule:
  """The peak at every step."""
  return optax.constant_schedule(peak)


def cosine(peak: float, num_steps: int) -> optax.Schedule:
  """Half a cosine from the peak to 0 at the last step."""
  return optax.cosine_decay_schedule(peak, num_steps)


def linear(peak: float, num_steps: int) -> optax.Schedule:
  """A line from the peak to 0 at the last step."""
  return optax.linear_schedule(peak, 0.0, num_steps)


def power(
  peak: float, steps: int = 70_000, exponent: float = 0.5
) -> optax.Schedule:
  """peak / max(step / steps, 1)^exponent; a longer run continues the same.

  Source: EDM2 (Karras et al. 2024, arXiv:2312.02696), appendix B, with exponent
  1/2 and steps of 2048 images.
  """
  whole('steps', steps, 1)
  number('exponent', exponent, '(0, inf)')
  return lambda step: peak / jnp.maximum(step / steps, 1.0) ** exponent


def warmup_steps(c: Optimizer, num_steps: int) -> int:
  """Returns the steps of warm-up: a tenth of a run that is no longer."""
  return c.warmup_steps if c.warmup_steps < num_steps else num_steps // 10


def constrained(
  project: Callable[[jax.Array], jax.Array],
) -> optax.GradientTransformation:
  """Applies a function to each kernel after its step, and to nothing else.

  Source: EDM2 (Karras et al. 2024), section 2.3, there forced weight norm.
  """

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    def one(path: Any, change: jax.Array, x: jax.Array) -> jax.Array:
      return project(x + change) - x if path[-1].key == 'kernel' else change

    return jax.tree_util.tree_map_with_path(one, updates, params), state

  return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def clip(norm: float) -> optax.GradientTransformation:
  """Clips by global norm, as `optax.clip_by_global_norm`, by one factor.

  optax divides, which XLA on a CPU does in a loop and a buffer of its own for
  every array of parameters: a fifth of what the update takes to compile. The
  gradient of a discriminator is clipped by its own norm.
  """

  def clipped(updates: Any) -> Any:
    scale = jnp.minimum(1.0, norm / optax.global_norm(updates))
    return jax.tree.map(lambda x: x * scale.astype(x.dtype), updates)

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    apart = DISCRIMINATOR
    if not isinstance(updates, Mapping) or apart not in updates:
      return clipped(updates), state
    rest = {name: x for name, x in updates.items() if name != apart}
    return {**clipped(rest), apart: clipped(updates[apart])}, state

  return optax.GradientTransformation(lambda _: optax.EmptyState(), update)
