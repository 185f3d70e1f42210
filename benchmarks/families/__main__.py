"""The four families side by side: GAN, VAE, normalizing flow, diffusion.

  python -m jaxdiff.data prepare tfds:fashion_mnist
  python -m jaxdiff.classifier train tfds:fashion_mnist
  python -m benchmarks.families

Each family learns two moons and Fashion-MNIST with about equally many
parameters and as many CPU minutes, compilation not counted. Then samples of
several seeds are measured: the distance to the data, precision and recall, the
likelihood where there is one, and CPU seconds a sample. OUT gets a JSON and the
samples of each, families.png and the table; the same command continues.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import optax
import tqdm

from benchmarks import kept
from benchmarks.families import cases, figure, measure
from benchmarks.families.cases import Case
from benchmarks.families.family import Family
from jaxdiff import data, files, likelihood, scripts, training
from jaxdiff.config import Section, parse_flags
from jaxdiff.config.ranges import In, Positive, Seed
from jaxdiff.evaluation import extractors
from jaxdiff.losses import Batch

TIMED = 30  # steps from which the number of all is reckoned
DECAY = 0.999


@dataclasses.dataclass(frozen=True)
class Options(Section):
  """Trains, measures and draws the families."""

  points: str = 'two_moons'
  images: str = 'tfds:fashion_mnist'
  features: str = 'classifier:runs/classifier_fashion_mnist'
  point_minutes: Positive = 1.0  # of CPU time, for each family
  image_minutes: Positive = 6.0
  # Samples: precision and recall look for 3 neighbours of each.
  num: Annotated[int, In(f'[{cases.LEAST}, 2147483647]')] = 1000
  seeds: tuple[Seed, ...] = (0, 1, 2)  # of sampling
  out: str = 'runs/families'

  def check(self) -> None:
    super().check()
    if not self.seeds or len(set(self.seeds)) < len(self.seeds):
      raise ValueError(
        f'--seeds must be one number or more, all different, got {self.seeds}'
      )


def fit(case: Case, family: Family, minutes: float) -> tuple[Any, int]:
  """Trains for so many CPU minutes; returns averaged parameters and steps."""

  def loss(params: Any, keys: jax.Array, batch: Batch) -> Any:
    x0 = batch['x0']
    if case.bins:
      x0 = jax.vmap(likelihood.dequantize)(keys, x0)
    inner = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    return family.loss(params, inner, {'x0': x0})

  def run(number: int, most: int) -> tuple[training.TrainState, float]:
    rate = optax.warmup_cosine_decay_schedule(
      0.0, family.learning_rate, min(100, most // 2), most
    )
    optimizer = optax.chain(
      optax.clip_by_global_norm(1.0), optax.adam(rate, b1=family.b1)
    )
    task = training.make_task(family.init, loss, optimizer, decay=DECAY)
    step = jax.jit(task.step, donate_argnums=0)
    examples = data.batches(case.train, case.batch_size, seed=0)
    state, found = step(task.init(jax.random.key(0)), next(examples))
    jax.block_until_ready(found)
    began = time.process_time()
    for _ in (bar := tqdm.trange(1, number)):
      state, found = step(state, next(examples))
      value = float(found['loss'])
      if not np.isfinite(value):
        raise SystemExit(f'the loss is {value}')
      bar.set_postfix_str(f'loss {value:.4f}', refresh=False)
    examples.close()
    return state, time.process_time() - began

  _, seconds = run(TIMED, TIMED)
  number = max(2, int(60 * minutes * (TIMED - 1) / seconds))
  state, _ = run(number, number)
  return state.ema_params, number


def result(
  case: Case, family: Family, minutes: float, options: Options, score: Any
) -> tuple[dict[str, Any], np.ndarray]:
  """Trains and measures a family; returns its numbers and samples."""
  began = time.process_time()
  params, steps = fit(case, family, minutes)
  spent = (time.process_time() - began) / 60
  drawn, seconds = measure.draw(family, params, options.num, options.seeds)
  scores = [score(x) for x in drawn]
  found = {
    'parameters': sum(x.size for x in jax.tree.leaves(params)),
    'steps': steps,
    'batch_size': case.batch_size,
    'minutes_with_compilation': spent,
    'seconds_per_sample': seconds,
    'bound': family.bound,
  }
  for name in scores[0]:
    values = [s[name] for s in scores]
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    found[name] = {'mean': float(np.mean(values)), 'std': spread}
  if family.nats is not None:
    found |= measure.bits(case, family, params)
  return found, drawn[0]


def read(
  path: Path, case: Case, settings: dict[str, Any]
) -> tuple[dict[str, Any], np.ndarray]:
  """Reads the numbers and samples of a family that `main` wrote.

  Raises:
    ValueError: A file is damaged, or was made with other settings.
  """

  def whole(found: Any) -> dict[str, Any]:
    figure.line(path.stem, found)
    if {*found['settings']} != {*settings}:
      raise ValueError('it has other settings')
    return found

  found = kept.read(path, whole)
  kept.compare(path, found['settings'], settings)
  file = path.with_suffix('.npz')
  samples = kept.read_array(file, 'x', path)
  if samples.shape != (settings['num'], *case.train.shape):
    raise ValueError(
      f'{file} has samples {samples.shape}: delete {path}, and the same '
      'command makes both again'
    )
  return found, samples


def main(options: Options) -> None:
  out = files.as_path(options.out)
  files.check_target(out, folder=True)
  load = lambda name: [data.load(name, split) for split in ('train', 'test')]
  wanted = {
    'points': (cases.points(*load(options.points)), options.point_minutes),
    'images': (cases.images(*load(options.images)), options.image_minutes),
  }
  settings = {k: v for k, v in vars(options).items() if k != 'out'}
  settings = json.loads(json.dumps(settings))
  paths = {
    (kind, name): out / f'{kind}_{name}.json'
    for kind, (case, _) in wanted.items()
    for name in case.families
  }
  rows = {
    (kind, name): read(path, wanted[kind][0], settings)
    for (kind, name), path in paths.items()
    if path.exists()
  }
  network = None
  if any(kind == 'images' for kind, _ in paths.keys() - rows.keys()):
    # Errors come before the training.
    network = extractors.load(options.features)
    extractors.check(network, wanted['images'][0].train)
  for kind, (case, minutes) in wanted.items():
    score = None
    for name, build in case.families.items():
      if (kind, name) in rows:
        continue
      if score is None and kind == 'points':
        score = measure.distance_of_points(case, options.num)
      elif score is None:
        score = measure.distance_of_images(case, options.num, network)
      print(f'{kind}: {name}')
      found, samples = result(case, build(), minutes, options, score)
      found['settings'] = settings
      path = paths[kind, name]
      files.write_npz(path.with_suffix('.npz'), x=samples)
      files.write_json(path, found)
      rows[kind, name] = found, samples
  rows = {key: rows[key] for key in paths}
  shown = {'points': 1000, 'images': figure.SHOWN}
  real = {k: measure.whole(wanted[k][0].test, n) for k, n in shown.items()}
  figure.draw(rows, real, out / 'families.png')
  text = figure.table(rows)
  files.write_text(text, out / 'families.md')
  print(f'\n{text}\n{out / "families.png"}')


if __name__ == '__main__':
  with scripts.ending('benchmarks.families'):
    main(parse_flags(Options))
