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
from typing import Any

import jax
import numpy as np
import optax
import tqdm
import tyro

from benchmarks.families import cases, figure, measure
from benchmarks.families.cases import Case
from benchmarks.families.family import Family
from jaxdiff import data, files, likelihood, scripts, training
from jaxdiff.losses import Batch

TIMED = 30  # steps from which the number of all is reckoned
DECAY = 0.999


@dataclasses.dataclass(frozen=True)
class Options:
  """Trains, measures and draws the families."""

  points: str = 'two_moons'
  images: str = 'tfds:fashion_mnist'
  features: str = 'classifier:runs/classifier_fashion_mnist'
  point_minutes: float = 1.0  # of CPU time, for each family
  image_minutes: float = 6.0
  num: int = 1000  # samples
  seeds: tuple[int, ...] = (0, 1, 2)  # of sampling
  out: str = 'runs/families'


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


def main(options: Options) -> None:
  out, rows = Path(options.out), {}
  load = lambda name: [data.load(name, split) for split in ('train', 'test')]
  wanted = {
    'points': (cases.points(*load(options.points)), options.point_minutes),
    'images': (cases.images(*load(options.images)), options.image_minutes),
  }
  settings = {k: v for k, v in vars(options).items() if k != 'out'}
  settings = json.loads(json.dumps(settings))
  for kind, (case, minutes) in wanted.items():
    score = None
    for name, build in case.families.items():
      path = out / f'{kind}_{name}.json'
      if path.exists():
        found = json.loads(path.read_text())
        if found['settings'] != settings:
          raise SystemExit(f'{out} holds results of other settings: --out')
        rows[kind, name] = found, files.read_npz(path.with_suffix('.npz'))['x']
        continue
      if score is None and kind == 'points':
        score = measure.distance_of_points(case, options.num)
      elif score is None:
        score = measure.distance_of_images(case, options.num, options.features)
      print(f'{kind}: {name}')
      found, samples = result(case, build(), minutes, options, score)
      found['settings'] = settings
      files.write_npz(path.with_suffix('.npz'), x=samples)
      files.write_json(path, found)
      rows[kind, name] = found, samples
  shown = {'points': 1000, 'images': figure.SHOWN}
  real = {k: measure.whole(wanted[k][0].test, n) for k, n in shown.items()}
  figure.draw(rows, real, out / 'families.png')
  text = figure.table(rows)
  files.write_text(text, out / 'families.md')
  print(f'\n{text}\n{out / "families.png"}')


if __name__ == '__main__':
  with scripts.ending('benchmarks.families'):
    main(tyro.cli(Options, description=__doc__))
