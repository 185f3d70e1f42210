"""The optimizer of a configuration, an optax chain."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdiff.config import Optimizer


def make(c: Optimizer, num_steps: int) -> optax.GradientTransformation:
  """Builds gradient clipping, Adam or AdamW, warm-up and decay.

  Args:
    c: of the configuration.
    num_steps: of the run, over which the learning rate decays.
  """
  learning_rate = rate(c, num_steps)
  adam = {
    'adam': optax.adam(learning_rate, c.b1, c.b2, c.eps),
    'adamw': optax.adamw(
      learning_rate, c.b1, c.b2, c.eps, weight_decay=c.weight_decay
    ),
  }[c.name]
  return optax.chain(clip(c.clip_norm), adam) if c.clip_norm else adam


def rate(c: Optimizer, num_steps: int) -> optax.Schedule:
  """Builds the learning rate of each step: warm-up, then decay."""
  warmup = warmup_steps(c, num_steps)
  decay_steps = num_steps - warmup
  decay = {
    'constant': optax.constant_schedule(c.learning_rate),
    'cosine': optax.cosine_decay_schedule(c.learning_rate, decay_steps),
    'linear': optax.linear_schedule(c.learning_rate, 0.0, decay_steps),
  }[c.schedule]
  if not warmup:
    return decay
  rising = optax.linear_schedule(0.0, c.learning_rate, warmup)
  return optax.join_schedules([rising, decay], [warmup])


def warmup_steps(c: Optimizer, num_steps: int) -> int:
  """Returns the steps of warm-up: a tenth of a run that is no longer."""
  return c.warmup_steps if c.warmup_steps < num_steps else num_steps // 10


def clip(norm: float) -> optax.GradientTransformation:
  """Clips by global norm, as `optax.clip_by_global_norm`, by one factor.

  optax divides, which XLA on a CPU does in a loop and a buffer of its own for
  every array of parameters: a fifth of what the update takes to compile.
  """

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    scale = jnp.minimum(1.0, norm / optax.global_norm(updates))
    return jax.tree.map(lambda x: x * scale.astype(x.dtype), updates), state

  return optax.GradientTransformation(lambda _: optax.EmptyState(), update)
