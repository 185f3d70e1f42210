"""A run: what train.py trains, and what it leaves."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from jaxdiff import conditioning, parallel, training
from jaxdiff import config as configs
from jaxdiff.build import categories
from jaxdiff.build.diffusion import make_loss
from jaxdiff.build.model import blank, make_apply, make_network
from jaxdiff.build.sampling import make_sampler
from jaxdiff.choices import POSITIONS
from jaxdiff.config import Config, Spec
from jaxdiff.runs import Checkpoints, run_config


def make_optimizer(config: Config) -> optax.GradientTransformation:
  """Clip, Adam or AdamW, warm-up and decay over training.num_steps."""
  c, total = config.optimizer, config.training.num_steps
  if total < 1:
    raise ValueError(f'training.num_steps must be at least 1, got {total}')
  if c.warmup_steps >= total:
    raise ValueError(
      f'optimizer.warmup_steps={c.warmup_steps} leaves nothing of '
      f'training.num_steps={total}'
    )
  decay_steps = total - c.warmup_steps
  rate = {
    'constant': optax.constant_schedule(c.learning_rate),
    'cosine': optax.cosine_decay_schedule(c.learning_rate, decay_steps),
    'linear': optax.linear_schedule(c.learning_rate, 0.0, decay_steps),
  }[c.schedule]
  if c.warmup_steps:
    warmup = optax.linear_schedule(0.0, c.learning_rate, c.warmup_steps)
    rate = optax.join_schedules([warmup, rate], [c.warmup_steps])
  clip = clipped(c.clip_norm) if c.clip_norm else None
  adam = {
    'adam': optax.adam(rate, c.b1, c.b2, c.eps),
    'adamw': optax.adamw(rate, c.b1, c.b2, c.eps, weight_decay=c.weight_decay),
  }[c.name]
  return optax.chain(clip, adam) if clip else adam


def check_steps(config: Config, first: int = 0) -> None:
  """Raises ValueError unless all that is due falls between two executions.

  Args:
    config: of the run.
    first: the step it goes on from.
  """
  c, n = config.training, config.training.steps_per_execution
  due = {
    'training.num_steps': c.num_steps,
    'training.log_every': c.log_every,
    'training.preview_every': c.preview_every,
    'checkpoint.every': config.checkpoint.every,
    'evaluation.every': config.evaluation.every or n,
    'the step it goes on from': first,
  }
  for name, steps in due.items():
    if n < 1 or (steps <= c.num_steps and steps % n):
      raise ValueError(
        f'training.steps_per_execution={n} must be at least 1 and divide '
        f'{name}={steps}'
      )


def clipped(norm: float) -> optax.GradientTransformation:
  """`optax.clip_by_global_norm`, as a factor that Adam's loops take in.

  optax divides, which XLA on a CPU does in a loop and a buffer of its own for
  every array of parameters: a fifth of what the update takes to compile.
  """

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    scale = jnp.minimum(1.0, norm / optax.global_norm(updates))
    return jax.tree.map(lambda x: x * scale.astype(x.dtype), updates), state

  return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def make_task(
  config: Config, spec: Spec, null: dict[str, np.ndarray] | None = None
) -> training.Task:
  """Everything train.py needs, for data of this spec.

  Args:
    config: of the run.
    spec: of its data.
    null: a row for each condition that is dropped in training, from
      `load_examples`.
  """
  c, condition = config.diffusion, config.condition
  network = make_network(config, spec)
  optimizer = make_optimizer(config)
  apply = make_apply(config, network)
  if categories.of_categories(config):
    loss = categories.make_loss(config, spec, apply)
  else:
    loss = make_loss(config, apply)
  if null:
    loss = conditioning.dropping(loss, null, condition.drop)
  if condition.low_res:
    loss = conditioning.super_resolution(
      loss, condition.low_res, condition.augment
    )
  step = training.make_train_step(
    loss,
    optimizer,
    decay=config.training.ema_decay,
    accumulate=config.training.accumulate,
    positions=POSITIONS[c.positions],
  )

  def init(key: Array) -> training.TrainState:
    init_key, key = jax.random.split(key)
    kind = jnp.int32 if spec.categories else jnp.float32
    xt = jax.tree.map(
      lambda shape: jnp.zeros((1, *shape), kind),
      spec.shape,
      is_leaf=lambda x: isinstance(x, tuple),
    )
    t = jnp.zeros(1)
    cond = blank(config, spec) or None
    params = network.init(init_key, xt, t, cond)['params']
    return training.init_state(params, optimizer, key, c.importance)

  return training.Task(init, step, make_sampler(config, spec))


class Run(NamedTuple):
  """What a workdir holds."""

  config: Config
  spec: Spec
  step: int
  params: Any

  @property
  def small_shape(self) -> tuple[int, ...]:
    """Of the images that the model enlarges."""
    size = self.config.condition.low_res
    return (size, size, self.spec.shape[-1])


def load_run(
  workdir: str | Path,
  mesh: Mesh,
  *,
  checkpoint: int | None = None,
  ema: bool = True,
) -> Run:
  """A trained model, its weights on every device of the mesh.

  Args:
    workdir: of train.py.
    mesh: from `parallel.make_mesh`.
    checkpoint: the step; None for the newest good one.
    ema: the averaged weights.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    DamagedCheckpointError: none that can be trusted.
  """
  config, spec = configs.undescribe(run_config.load_config(workdir))
  task = make_task(config, spec)
  abstract = jax.eval_shape(task.init, jax.random.key(0))
  sharding = parallel.state_sharding(abstract, mesh)
  restored = Checkpoints(workdir).restore(
    parallel.placed(abstract, sharding), checkpoint
  )
  if restored is None:
    raise FileNotFoundError(f'{workdir} holds no checkpoint yet: train first')
  step, state = restored
  params = state.ema_params if ema else state.params
  return Run(config, spec, step, params)
