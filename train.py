"""Trains a diffusion model: `python train.py`, `python train.py --help`.

The same command in the same workdir continues where the run was.
"""

import shlex

from jaxdiff import malloc

if __name__ == '__main__':
  malloc.relaunch()  # before the second that importing jax takes

from jaxdiff import config as configs
from jaxdiff import files, models, parallel, runs, scripts, training
from jaxdiff.config import Config, steps_at_once
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import examples, logs, loop, warm_start


def train(config: Config) -> None:
  # The data, and the model for it: network, process, loss, sampler.
  data = examples.load(config, config.workdir, training=True)
  config, spec, start = warm_start.load(config, data.spec)
  model = models.make(config, spec, data.null, start)

  # One training step: the loss, its gradient, the optimizer, the averages.
  # All parameters are trained, or with --lora.rank factors beside them.
  optimizer = optimizers.make(config.optimizer, config.training.num_steps)
  options = optimizers.step_options(config)
  trained = models.trained(config, model, start)
  task = training.make_task(optimizer=optimizer, **trained._asdict(), **options)

  # Steps on all devices, with logs, checkpoints and pictures on the way.
  from jaxdiff.generation import previews

  pictures = previews.make(config, model, data)
  reports = [loop.Report(config.training.preview_every, pictures.save)]
  if config.evaluation.every is not None:
    from jaxdiff.evaluation import inloop

    measure = inloop.make(config, model)
    reports.append(loop.Report(config.evaluation.every, measure, True))
  if parallel.is_primary():
    announce(config, data)
  described = configs.describe(config, model.spec)
  params = loop.fit(config, task, data.dataset, described, reports)
  if parallel.is_primary():
    finish(config, pictures.finish(params))


def announce(config: Config, data: examples.Examples) -> None:
  """Prints the data, and what was changed."""
  print(f'{config.workdir}: {data.dataset.summary()}')
  c, steps = config.optimizer, config.training.num_steps
  warmup = optimizers.warmup_steps(c, steps)
  if warmup != c.warmup_steps:
    print(
      f'--optimizer.warmup-steps {c.warmup_steps} would last longer than the '
      f'run of {steps} steps: shortened to {warmup}'
    )
  most, at_once = config.training.steps_per_execution, steps_at_once(config)
  if at_once < most:
    print(
      f'--training.steps-per-execution {most}: {at_once} here, so that every '
      'log, picture and checkpoint falls between two executions'
    )


def finish(config: Config, report: str) -> None:
  """Draws the loss curve, and says where everything is."""
  workdir = files.as_path(config.workdir)
  board = f', tensorboard --logdir {shlex.quote(config.workdir)}'
  board *= config.log == 'tensorboard'
  print(f"""
loss curve   {logs.save_loss_curve(workdir)}
metrics      {workdir / 'metrics.jsonl'}{board}
checkpoints  {workdir / 'checkpoints'}
{report}""")


def main(argv: list[str] | None = None) -> None:
  with scripts.ending('train.py') as parsed:
    config = parsed(configs.parse(argv, warm_start.published))
    runs.start(config.parallel, configs.to_dict(config), stops=True)
    files.check_target(config.workdir, folder=True)
    train(config)


if __name__ == '__main__':
  scripts.run(main)
