"""Flax's tutorial of diffusion beside configs/digits.py, in equal minutes.

  pip install diffrax
  python -m jaxdiff.classifier train digits
  python -m benchmarks.tutorial digits_diffusion_model.md runs/tutorial

The tutorial (docs_nnx/examples of flax's repository, not shipped here) learns
the 177 images of a 2 among scikit-learn's digits. Its own code cells are run;
only its 2,000 steps become those that fit into the minutes, and its warm-up
remains half of them. Ours is configs/digits.py on the same images. Both train
at once, a core each. Minutes are processor time of the steps, estimated from a
few; OUT/SIDE/steps.json has the minutes that the whole training took.

OUT/result.json has the Frechet distance of 50 samples to the 177 images,
in features of a classifier of all ten digits; OUT/result.png shows samples.
"""

import importlib.util
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from benchmarks import kept
from benchmarks import minutes as equal_minutes
from benchmarks.minutes import number_of_steps, run, seconds_each
from jaxdiff import data, files, malloc, scripts
from jaxdiff.config import Section, parse_flags
from jaxdiff.config.ranges import Count
from jaxdiff.modalities import pictures

NAME, CONFIG = 'benchmarks.tutorial:twos', 'configs/digits.py'
NUM = 50  # of samples: the tutorial takes minutes for these
SIDES = ('ours', 'tutorial')


@dataclass(frozen=True)
class Options(Section):
  """Trains both, draws, and measures."""

  source: Annotated[str, tyro.conf.Positional]  # the tutorial, as Markdown
  out: Annotated[str, tyro.conf.Positional]
  minutes: Count = 10
  seeds: Count = 3
  features: str = 'classifier:runs/classifier_digits'
  side: Literal['ours', 'tutorial'] | None = None  # of a process of its own


def twos(split: str) -> data.Dataset:
  """The images of a 2 among scikit-learn's digits, all of them."""
  from sklearn.datasets import load_digits

  digits = load_digits()
  images = digits.images[digits.target == 2]
  x0 = np.round(images * (255 / 16)).astype(np.uint8)[..., None]
  gather = lambda indices: {'x0': x0[indices]}
  return data.Dataset('twos', split, 'image', len(x0), (8, 8, 1), None, gather)


def cells(source: str) -> list[str]:
  """Returns the code of a tutorial up to its training loop.

  Raises:
    ValueError: It is not the tutorial, or has changed.
  """
  found = re.findall(r'^```python\n(.*?)^```', source, re.DOTALL | re.MULTILINE)
  end = [i for i, cell in enumerate(found) if cell.startswith('losses = []')]
  text = '\n'.join(found)
  if not end or 'num_epochs = 2000' not in text:
    raise ValueError('the source must be digits_diffusion_model.md of flax')
  return found[: end[0]]


def run_cells(source: str, num_steps: int) -> dict[str, Any]:
  """Runs the cells with a number of steps; returns what they define."""
  import matplotlib

  matplotlib.use('Agg')  # its pictures are not shown
  names: dict[str, Any] = {}
  for cell in cells(source):
    cell = cell.replace('num_epochs = 2000', f'num_epochs = {num_steps}')
    cell = cell.replace(
      'warmup_steps = 1000', f'warmup_steps = {num_steps // 2}'
    )
    exec(cell, names)
  return names


def tutorial(options: Options, out: Path) -> None:
  """Trains by the tutorial's code."""
  source = Path(options.source).read_text()

  def stepper(names: dict[str, Any]) -> Any:
    state = [names[n] for n in ('model', 'images', 'rngs', 'optimizer')]
    return lambda: float(names['train_step'](*state))

  trial = stepper(run_cells(source, 100))
  trial()
  each = seconds_each(trial, 3)
  (num_steps,) = number_of_steps((options.minutes,), each)
  names = run_cells(source, num_steps)
  step = stepper(names)
  losses = [step() for _ in range(num_steps)]
  seconds = time.process_time()
  print(f'tutorial: {num_steps} steps, loss {losses[-1]:.3f}', flush=True)
  for seed in range(options.seeds):
    rngs = names['nnx'].Rngs(1000 + seed)
    batches = [names['sample'](names['model'], rngs) for _ in range(0, NUM, 25)]
    images = np.clip(np.concatenate([np.asarray(x) for x in batches]), -1, 1)
    np.savez(out / f'{seed}.npz', arr_0=pictures.to_uint8(images[:NUM]))
  save_steps(out, num_steps, seconds)


def ours(options: Options, out: Path) -> None:
  """Trains by train.py, and draws by sample.py."""
  from benchmarks import ours as our_side
  from jaxdiff import config as c

  case = our_side.Case(c.load_file(CONFIG), c.Spec('image', (8, 8, 1)), {})
  side = our_side.train_step(case, our_side.random_images(case, 64))
  side.run()
  each = seconds_each(side.run, 20)
  (num_steps,) = number_of_steps((options.minutes,), each)
  flags = ['--config', CONFIG, '--data.name', NAME, '--workdir', str(out)]
  flags += ['--training.num-steps', str(num_steps)]
  flags += ['--training.preview-every', str(num_steps)]
  run('train.py', *flags)
  seconds = equal_minutes.child_seconds()
  for seed in range(options.seeds):
    flags = ['--num', str(NUM), '--seed', str(seed)]
    flags += ['--out', str(out / f'{seed}.npz')]
    run('sample.py', str(out), *flags)
  save_steps(out, num_steps, seconds)


def save_steps(out: Path, num_steps: int, seconds: float) -> None:
  made = {'steps': num_steps, 'minutes': seconds / 60}
  files.write_json(out / 'steps.json', made)


def steps_of(made: Any) -> dict[str, float]:
  """Takes what `save_steps` wrote."""
  finite = equal_minutes.finite
  return {'steps': finite(made['steps']), 'minutes': finite(made['minutes'])}


def measure(options: Options, out: Path) -> list[float]:
  """Measures the samples of a side with every seed."""
  flags = ['--reference', NAME, '--features', options.features]
  flags += ['--num', str(NUM)]
  return [
    equal_minutes.distance(out / f'{i}.npz', out / f'{i}.json', *flags)
    for i in range(options.seeds)
  ]


def main(options: Options) -> None:
  out = Path(options.out)
  if options.side:
    {'ours': ours, 'tutorial': tutorial}[options.side](
      options, out / options.side
    )
    return
  # Errors come before the training.
  cells(Path(options.source).read_text())
  equal_minutes.check_features(options.features)
  if importlib.util.find_spec('diffrax') is None:
    raise ValueError('the tutorial samples with diffrax: pip install diffrax')
  names = ('minutes', 'seeds', 'features')
  equal_minutes.keep_options(out, **{n: getattr(options, n) for n in names})
  equal_minutes.train_sides('benchmarks.tutorial', SIDES, out, 'steps.json')
  result, shown = {}, [twos('train').gather(np.arange(10))['x0']]
  for side in SIDES:
    distances = measure(options, out / side)
    done = out / side / 'steps.json'
    steps = kept.read(done, steps_of)
    result[side] = {**steps, 'distances': distances}
    samples = kept.read_array(out / side / '0.npz', 'arr_0', done)
    shown.append(samples[:10])
    mean, std = np.mean(distances), np.std(distances, ddof=options.seeds > 1)
    print(f'{side:9} {steps["steps"]:6,} steps  {mean:.3f} +- {std:.3f}')
  files.write_json(out / 'result.json', result)
  # Image i has the name i modulo three; a row each.
  images = np.stack(shown, axis=1).reshape(-1, 8, 8, 1)
  picture = pictures.labelled_grid(images, ['training images', *SIDES])
  pictures.save_png(picture, out / 'result.png')


if __name__ == '__main__':
  malloc.relaunch()  # as train.py does
  with scripts.ending('benchmarks.tutorial'):
    main(parse_flags(Options))
