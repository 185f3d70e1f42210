"""Trains a diffusion model: `python train.py`, `python train.py --help`.

The same command in the same workdir continues where the run was.
"""

import contextlib
import sys
from pathlib import Path

import jax

from jaxdiff import config as configs
from jaxdiff import data, models, parallel, runs, training
from jaxdiff.config import Config
from jaxdiff.generation.previews import Previews
from jaxdiff.losses import time_sampling
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import examples, metrics, run_config
from jaxdiff.runs.logs import Log, NonFiniteLossError
from jaxdiff.runs.stopping import signals


def train(config: Config) -> None:
  workdir, c = Path(config.workdir), config.training
  total, at_once = c.num_steps, c.steps_per_execution
  mesh = parallel.make_mesh(config.parallel.fsdp)
  parallel.check_batch_size(c.batch_size, mesh, c.accumulate)

  # The data, the model, the loss and the optimizer: one pure step.
  found = examples.load(config, workdir, learn=True)
  model = models.make(config, found.spec, found.null)
  optimizer = optimizers.make(config.optimizer, total)
  step = training.make_train_step(
    model.loss,
    optimizer,
    decay=c.ema_decay,
    accumulate=c.accumulate,
    positions=getattr(time_sampling, config.diffusion.positions),
  )

  def init(key):
    init_key, key = jax.random.split(key)
    return training.init_state(model.init(init_key), optimizer, key)

  # The same step on every device.
  key = jax.random.key(config.seed)
  abstract = jax.eval_shape(init, key)
  sharding = parallel.state_sharding(abstract, mesh)
  train_step = parallel.compile_train_step(
    step, mesh, sharding, mode=config.parallel.mode, num_steps=at_once
  )

  with contextlib.ExitStack() as stack:
    described = configs.describe(config, found.spec)
    runs.check_continues(workdir, described)
    if parallel.is_primary():
      stack.enter_context(run_config.only_writer(workdir))
      run_config.save_config(workdir, described)
    stopped = stack.enter_context(signals())
    kept = config.checkpoint
    store = stack.enter_context(
      runs.Checkpoints(
        workdir, max_to_keep=kept.max_to_keep, keep_every=kept.keep_every
      )
    )
    restored = store.restore(parallel.placed(abstract, sharding))
    first, state = restored or (0, parallel.initialise(init, key, sharding))
    say_hello(config, found, first)
    measure = make_measure(config, model)
    log = stack.enter_context(
      Log(workdir, first, total, c.batch_size, parallel.is_primary())
    )
    batches = data.batches(
      found.dataset,
      c.batch_size,
      seed=config.seed,
      start_step=first,
      flip=config.data.flip,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      at_once=at_once,
    )
    stack.callback(batches.close)
    previews = Previews(config, model, found)

    for step in range(first + at_once, total + 1, at_once):
      state, values = train_step(state, next(batches))
      log.add(step, values)
      due = lambda every, step=step: step % every == 0 or step == total
      # Hosts can agree to stop only where all of them ask.
      asking = jax.process_count() == 1 or due(c.log_every)
      stopping = asking and parallel.any_process(bool(stopped))
      saving = stopping or due(kept.every)
      if saving or due(c.log_every):
        log.flush()  # raises before a state gone wrong is saved
      if saving:
        store.save(step, parallel.joined(state, sharding))
      if due(c.preview_every):
        params = parallel.gather(state.ema_params, mesh)
        if parallel.is_primary():
          previews.save(params, step)
      if measure and due(config.evaluation.every):
        params = parallel.gather(state.ema_params, mesh)
        log.measured(step, measure(params, step))
      if stopping and step < total:
        store.wait()
        if parallel.is_primary():
          print(f'\nstopped at step {step}, saved; the same command continues')
        sys.exit(130 if 2 in stopped else 0)

    params = parallel.gather(state.ema_params, mesh)
  if parallel.is_primary():
    say_goodbye(config, previews, params)


def make_measure(config: Config, model: models.Model):
  """Builds (params, step) -> metrics of samples; None where none are wanted."""
  if config.evaluation.every is None:
    return None
  from jaxdiff.evaluation import inloop

  return inloop.make(config, model)


def say_hello(config: Config, found: examples.Examples, first: int) -> None:
  """Prints the data, and what continues or was changed."""
  if not parallel.is_primary():
    return
  print(
    f'{config.workdir}: {len(found.dataset)} examples of {config.data.name}'
  )
  if first:
    print(f'{config.workdir} continues from step {first}')
  c, total = config.optimizer, config.training.num_steps
  warmup = optimizers.warmup_steps(c, total)
  if warmup != c.warmup_steps:
    print(
      f'--optimizer.warmup-steps {c.warmup_steps} is as long as the run of '
      f'{total} steps: shortened to {warmup}'
    )


def say_goodbye(config: Config, previews: Previews, params) -> None:
  """Draws the last pictures, and says where everything is."""
  workdir = Path(config.workdir)
  strip = previews.strip(params)
  curve = metrics.save_loss_curve(workdir)
  sampled = sorted((workdir / 'samples').glob('*'))
  print(f"""
samples      {sampled[-1] if sampled else previews.save(params, 0)}
denoising    {strip}
loss curve   {curve}
metrics      {workdir / 'metrics.jsonl'}, tensorboard --logdir {workdir}
checkpoints  {workdir / 'checkpoints'}

more samples: python sample.py {workdir}""")


def main(argv: list[str] | None = None) -> None:
  try:
    config = configs.parse(argv)
    c = config.parallel
    parallel.start(c.coordinator, c.num_processes, c.process_id)
    train(config)
  except (
    ValueError,
    OSError,
    NonFiniteLossError,
    runs.DamagedCheckpointError,
  ) as error:
    sys.exit(f'train.py: {error}')


if __name__ == '__main__':
  main()
