"""Result cards: measured numbers that can be measured again.

  python -m jaxdiff.results make CARD            train, measure, complete CARD
  python -m jaxdiff.results verify CARD --workdir RUN       measure a run again
  python -m jaxdiff.results verify CARD --scratch FOLDER    train it again first
  python -m jaxdiff.results render FOLDER                  a table of the cards

A card is a JSON file. One writes how the number is made:

  title     of the row in the table
  setup     commands to run first, a module of jaxdiff or train.py:
            ['jaxdiff.classifier', 'train', 'digits'], ['train.py', ...]
  train     flags of train.py, without --workdir and --seed
  measure   a command of jaxdiff.evaluation or a benchmark of one run, with
            {run} for the workdir: ['fid', '--samples', '{run}'],
            ['benchmarks.alignment', '{run}']
  metric    the place of the number in its result, such as 'bound.0'
  train_seeds, seeds   of training, and of sampling

`make` adds the numbers, their spreads, and what they depend on. A finished run
in FOLDER/NAME OF THE CARD/seed0 is used as it is.
"""

import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from jaxdiff import files, recipes, scripts
from jaxdiff.cards import (
  BENCHMARKS,
  MADE,
  TRAIN,
  WRITTEN,
  Card,
  check_commands,
  number,
  read,
  row,
  table,
)
from jaxdiff.config import Section, parse, parse_flags, to_dict
from jaxdiff.runs import read_config, results
from jaxdiff.runs.config_json import differences
from jaxdiff.runs.logs import read_metrics
from jaxdiff.runs.store import Checkpoints

__all__ = [
  'MADE',
  'WRITTEN',
  'Make',
  'Render',
  'Verify',
  'number',
  'read',
  'row',
  'table',
]


@dataclass(frozen=True)
class Make(Section):
  """Train and measure what a card describes, and complete the card."""

  card: Annotated[str, tyro.conf.Positional]
  runs: str = 'runs/cards'  # a folder of the workdirs

  def run(self) -> None:
    card = read(self.card)
    folder = files.as_path(self.runs) / Path(self.card).stem
    # Errors of the command come before hours of training.
    check_commands(card)
    files.check_target(self.card)
    files.check_target(folder, folder=True)
    # The time of training is in the log of the run, which may be older.
    start, training = time.monotonic(), 0.0
    setup(card)
    made = []
    for seed in card['train_seeds']:
      before = time.monotonic()
      workdir = train(card, seed, folder)
      start += time.monotonic() - before
      training += training_seconds(workdir)
      values = measure(card, workdir)
      print(f'seed {seed}: {values}', flush=True)
      sha256 = results.config_sha256(workdir)
      made.append({'seed': seed, 'values': values, 'config_sha256': sha256})
    # Those of a run that was trained earlier, or in parts, count as well.
    minutes = (training + time.monotonic() - start) / 60
    files.write_json(self.card, completed(card, made, minutes))
    print(row(read(self.card)))


@dataclass(frozen=True)
class Verify(Section):
  """Measure again, from a run or from nothing, and compare with the card."""

  card: Annotated[str, tyro.conf.Positional]
  workdir: str | None = None  # a run that was trained as the card says
  scratch: str | None = None  # a folder: train there first

  def check(self) -> None:
    super().check()
    if (self.workdir is None) == (self.scratch is None):
      raise ValueError('give --workdir RUN or --scratch FOLDER')

  def run(self) -> None:
    card = read(self.card, made=True)
    first, mean = card['runs'][0], card['mean']
    check_commands(card)
    if self.workdir:
      # Of one training, not of the mean of several.
      mean = float(np.mean(check_run(card, files.as_path(self.workdir))))
    else:
      files.check_target(self.scratch, folder=True)
    setup(card)
    if self.workdir:
      workdir, kind = files.as_path(self.workdir), 'run'
    else:
      print(
        f'trains again; it took {card["minutes"]:.0f} minutes with all seeds'
      )
      folder = files.as_path(self.scratch) / Path(self.card).stem
      workdir, kind = train(card, first['seed'], folder), 'training'
    value = float(np.mean(measure(card, workdir)))
    tolerance = card['tolerance'][kind]
    passed = abs(value - mean) <= tolerance
    print(
      f'{"pass" if passed else "FAIL"}: {card["title"]}: {value:.5g}, the card '
      f'has {mean:.5g} within {tolerance:.2g}'
    )
    if not passed:
      sys.exit(1)


@dataclass(frozen=True)
class Render(Section):
  """Print a table of the cards in a folder."""

  folder: Annotated[str, tyro.conf.Positional]

  def run(self) -> None:
    cards = sorted(files.as_path(self.folder).glob('*.json'))
    if not cards:
      raise ValueError(f'{self.folder} has no cards')
    print(table([read(path, made=True) for path in cards]))


# Parts of a configuration that a run of a card may have otherwise.
UNCOMPARED = ('config', 'workdir', 'seed', 'log', 'parallel')
COMMANDS = {'make': Make, 'verify': Verify, 'render': Render}


def completed(
  card: Mapping[str, Any], made: Sequence[Mapping[str, Any]], minutes: float
) -> Card:
  """Adds the numbers, their spreads and their surroundings to a card.

  The tolerance is three standard deviations of the difference between two
  measurements. With k samplings, r trainings and their standard deviations s
  and S it is

    run       3 s sqrt(2 / k)
    training  3 sqrt(S^2 (1 + 1 / r) + s^2 (1 + 1 / r) / k),

  of one training S = 0.
  """
  values = np.array([each['values'] for each in made], np.float64)
  trainings, samplings = values.shape
  spread = lambda x: float(np.std(x, ddof=1)) if len(x) > 1 else 0.0
  sampling = float(np.sqrt(np.mean([spread(x) ** 2 for x in values])))
  training = spread(values.mean(axis=1))
  both = training**2 + sampling**2 / samplings
  least = 1e-3 * abs(values.mean())  # rounding on another machine
  return {
    **{name: card[name] for name in WRITTEN},
    'mean': float(values.mean()),
    'std_samplings': sampling,
    'std_trainings': training if trainings > 1 else None,
    'tolerance': {
      'run': max(3 * sampling * (2 / samplings) ** 0.5, least),
      'training': max(3 * (both * (1 + 1 / trainings)) ** 0.5, least),
    },
    'runs': list(made),
    'minutes': minutes,
    'hardware': _hardware(),
    'commit': results.commit(),
    'date': time.strftime('%Y-%m-%d'),
  }


def check_run(card: Card, workdir: Path) -> list[float]:
  """Compares a run with a card; returns the card's values of its seed.

  Raises:
    ValueError: It was not trained to the end as the card says.
  """
  wanted = to_dict(parse(card['train']))
  config, _ = read_config(workdir)
  found = to_dict(config)
  other = [
    f'{name}: card has {old!r}, run has {new!r}'
    for name, (old, new) in differences(wanted, found).items()
    if name.partition('.')[0] not in UNCOMPARED
  ]
  if other:
    raise ValueError(f'{workdir} is another run: ' + '; '.join(other))
  step, last = max(Checkpoints(workdir).steps(), default=0), wanted['training']
  if step < last['num_steps']:
    raise ValueError(
      f'{workdir} is at step {step} of {last["num_steps"]}: train it to the end'
    )
  known = {each['seed']: each['values'] for each in card['runs']}
  if config.seed not in known:
    raise ValueError(
      f'{workdir} was trained with --seed {config.seed}, the runs of the card '
      f'with {", ".join(map(str, known))}'
    )
  return known[config.seed]


def setup(card: Card) -> None:
  """Runs the commands that a card needs before its own."""
  for module, *flags in card['setup']:
    if module == TRAIN:
      _run(str(recipes.shipped(TRAIN)), *flags)
    else:
      _run('-m', module, *flags)


def train(card: Card, seed: int, folder: Path) -> Path:
  """Trains a run of a card, or continues it; returns its workdir."""
  workdir = folder / f'seed{seed}'
  script = str(recipes.shipped(TRAIN))
  _run(script, *card['train'], '--workdir', str(workdir), '--seed', str(seed))
  return workdir


def training_seconds(workdir: Path) -> float:
  """Sums the seconds of a run's steps, by its log; older logs have none."""
  metrics = read_metrics(workdir / 'metrics.jsonl')
  return sum(each.get('seconds', 0.0) for each in metrics)


def measure(card: Card, workdir: Path) -> list[float]:
  """Measures a run with every seed of a card."""
  command = [part.replace('{run}', str(workdir)) for part in card['measure']]
  if command[0] not in BENCHMARKS:
    command = ['jaxdiff.evaluation', *command]
  values = []
  for seed in card['seeds']:
    output = _run('-m', *command, '--seed', str(seed))
    # The last line names the file of the result.
    path = files.as_path(output.strip().splitlines()[-1])
    values.append(number(files.read_json(path, 'the result'), card['metric']))
  return values


def _run(*command: str) -> str:
  print('$ python', *command, flush=True)
  done = subprocess.run(
    [sys.executable, *command], stdout=subprocess.PIPE, text=True
  )
  if done.returncode:
    raise ValueError(f'python {" ".join(command)}: exit {done.returncode}')
  return done.stdout


def _hardware() -> str:
  import jax

  device = jax.devices()[0]
  name = device.device_kind
  if device.platform == 'cpu' and Path('/proc/cpuinfo').exists():
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    models = [x.split(':')[1].strip() for x in lines if x.startswith('model n')]
    name = f'{len(models)} x {models[0]}' if models else name
  python = platform.python_version()
  return f'{name}, jax {jax.__version__}, Python {python}'


def main(argv: list[str] | None = None) -> None:
  with scripts.ending('jaxdiff.results'):
    parse_flags(COMMANDS, argv).run()


if __name__ == '__main__':
  scripts.run(main)
