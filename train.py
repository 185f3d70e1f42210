"""Trains a diffusion model: `python train.py`, `python train.py --help`.

The same command in the same workdir continues where the run was.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdiff import build, data, parallel, pictures
from jaxdiff import config as configs
from jaxdiff.config import Config
from jaxdiff.runs import Checkpoints, DamagedCheckpointError, run_config
from jaxdiff.runs.logs import Log, NonFiniteLossError


def train(config: Config) -> None:
  # What can be wrong is found out before anything is computed.
  workdir, total = Path(config.workdir), config.training.num_steps
  at_once = config.training.steps_per_execution
  build.check_steps(config)
  primary = jax.process_index() == 0
  mesh = parallel.make_mesh(config.parallel.fsdp)
  parallel.check_batch_size(
    config.training.batch_size, mesh, config.training.accumulate
  )
  if not 0 <= config.seed < 2**31:
    raise ValueError(f'seed must be in [0, 2^31), got {config.seed}')
  examples = build.load_examples(config, workdir, learn=True)
  task = build.make_task(config, examples.spec, examples.null)
  medium = build.make_medium(examples.spec)
  key = jax.random.key(config.seed)
  abstract = jax.eval_shape(task.init, key)
  sharding = parallel.state_sharding(abstract, mesh)
  train_step = parallel.compile_train_step(
    task.step, mesh, sharding, mode=config.parallel.mode, num_steps=at_once
  )
  described = configs.describe(config, examples.spec)
  # Of a run that never saved a checkpoint nothing need be kept.
  if Checkpoints(workdir).steps():
    # As it is read today: what there was no name for had today's default.
    saved = configs.undescribe(run_config.load_config(workdir))
    saved = configs.describe(*saved)
    run_config.check_config(saved, described, configs.FIXED)

  with contextlib.ExitStack() as stack:
    if primary:
      stack.enter_context(run_config.only_writer(workdir))
      run_config.save_config(workdir, described)
    came = stack.enter_context(signals())
    store = stack.enter_context(
      Checkpoints(
        workdir,
        max_to_keep=config.checkpoint.max_to_keep,
        keep_every=config.checkpoint.keep_every,
      )
    )
    restored = store.restore(parallel.placed(abstract, sharding))
    first, state = restored or (
      0,
      parallel.initialise(task.init, key, sharding),
    )
    build.check_steps(config, first)
    if primary and first:
      print(f'{workdir} continues from step {first}')
    measure = make_measure(config, examples.spec)
    log = stack.enter_context(
      Log(workdir, first, total, config.training.batch_size, primary)
    )
    batches = data.batches(
      examples.dataset,
      config.training.batch_size,
      seed=config.seed,
      start_step=first,
      flip=config.data.flip,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      at_once=at_once,
    )
    stack.callback(batches.close)
    preview, num = jax.jit(task.preview), config.sampling.num
    told = build.preview_conditions(config, examples, num)
    options = build.options(config, **told)

    for step in range(first + at_once, total + 1, at_once):
      state, metrics = train_step(state, next(batches))
      log.add(step, metrics)
      due = lambda every, step=step: step % every == 0 or step == total
      # Hosts can agree to stop only where all of them ask.
      asking = jax.process_count() == 1 or due(config.training.log_every)
      stopping = asking and parallel.any_process(bool(came))
      saving = stopping or due(config.checkpoint.every)
      if saving or due(config.training.log_every):
        log.flush()  # raises before a state gone wrong is saved
      if saving:
        store.save(step, parallel.joined(state, sharding))
      if due(config.training.preview_every):
        params = parallel.gather(state.ema_params, mesh)
        if primary:
          drawn = preview(params, options, np.arange(num))
          path = workdir / 'samples' / f'{step:07d}{medium.endings[0]}'
          medium.gather(medium.split(drawn), (), path)
      if measure and due(config.evaluation.every):
        params = parallel.gather(state.ema_params, mesh)
        log.measured(step, measure(params, step))
      if stopping and step < total:
        store.wait()
        if primary:
          print(f'\nstopped at step {step}, saved; the same command continues')
        sys.exit(130 if signal.SIGINT in came else 0)

    params = parallel.gather(state.ema_params, mesh)
  if primary:
    finish(config, examples.spec, params, options)


def make_measure(config: Config, spec: configs.Spec) -> Any:
  """(params, step) -> metrics of samples, or None where none are wanted."""
  c = config.evaluation
  if c.every is None:
    return None
  from jaxdiff.evaluation import inloop

  return inloop.make(
    config,
    spec,
    features=c.features,
    weights=c.weights,
    resize=c.resize,
    num=c.num,
  )


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
  """The SIGTERM and SIGINT that came; the second SIGINT ends the process."""
  came: list[int] = []

  def handle(number: int, frame: Any) -> None:
    if number == signal.SIGINT and came:
      raise KeyboardInterrupt
    came.append(number)

  before = {
    n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield came
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def finish(config: Config, spec: configs.Spec, params, options) -> None:
  """The last pictures, and where everything is."""
  workdir = Path(config.workdir)
  draw = jax.jit(build.make_sampler(config, spec, trajectory=True))
  path = draw(params, options, np.arange(6))
  strip = build.make_medium(spec).strip(path, workdir / 'denoising')
  metrics = pictures.read_metrics(workdir / 'metrics.jsonl')
  pictures.save_loss_curve(metrics, workdir / 'loss.png')
  print(f"""
samples      {max((workdir / 'samples').iterdir())}
denoising    {strip}
loss curve   {workdir / 'loss.png'}
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
    DamagedCheckpointError,
  ) as error:
    sys.exit(f'train.py: {error}')


if __name__ == '__main__':
  main()
