"""Samples of a run as images to measure, drawn when they are asked for.

Sample i depends on the seed, on i, and on its own condition alone. So they
need not be stored: any part of them can be drawn again, on any number of
devices.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdiff import build, conditioning, parallel
from jaxdiff.config import Config, Spec
from jaxdiff.data.shuffling import permutation
from jaxdiff.evaluation.images import Images

Cond = dict[str, np.ndarray]
Draw = Callable[..., Any]  # (params, options, index [B]) -> [B, H, W, C]


class Policy(NamedTuple):
  """What samples are asked for.

  Attributes:
    name: what a result says, of labels: 'none', 'each in turn', ...
    rows: index [B] -> {name: [B, ...]}, the conditions of samples.
    null: a row for each, that guidance leads away from.
  """

  name: str
  rows: Callable[[np.ndarray], Cond]
  null: Cond


def check_images(config: Config, spec: Spec) -> None:
  """Raises ValueError unless a run draws images."""
  if spec.kind != 'image':
    command = {'text': 'text', 'graph': 'graphs'}[spec.kind]
    raise ValueError(
      f'a model of {config.data.name} draws no images: measure it with '
      f'python -m jaxdiff.evaluation {command}'
    )


def chosen(
  run: build.Run,
  *,
  sampler: str | None = None,
  steps: int | None = None,
  scale: float | None = None,
  eta: float | None = None,
) -> build.Run:
  """The run, to be sampled otherwise; None is as it was configured.

  Args:
    run: from `build.load_run`.
    sampler: its name; 'ancestral:large' has the variance too.
    steps: of the sampler.
    scale: of guidance.
    eta: of ddim.

  Raises:
    ValueError: a scale for a model without a condition, a variance that is
      not one or that is learned.
  """
  config = run.config
  if scale is not None and not (
    config.condition.label or config.condition.text
  ):
    raise ValueError('the model has no condition: --scale has no use')
  discrete = build.of_categories(config)
  if discrete and (eta is not None or ':' in (sampler or '')):
    raise ValueError(
      'eta and the variance of a sampler are for images that are numbers'
    )
  values = {'sampler': sampler, 'steps': steps, 'scale': scale, 'eta': eta}
  if sampler and ':' in sampler:
    values['sampler'], variance = sampler.split(':', 1)
    if variance not in ('small', 'large'):
      raise ValueError(
        f'the variance of a sampler must be small or large, got {sampler!r}'
      )
    if config.diffusion.variance == 'learned':
      raise ValueError(f'the model has learned its variance, got {sampler!r}')
    diffusion = dataclasses.replace(config.diffusion, variance=variance)
    config = dataclasses.replace(config, diffusion=diffusion)
  values = {name: x for name, x in values.items() if x is not None}
  sampling = dataclasses.replace(config.sampling, **values)
  return run._replace(config=dataclasses.replace(config, sampling=sampling))


def asked_as(
  text: str,
  run: build.Run,
  workdir: str | Path,
  prompts: Sequence[str] | None = None,
) -> Policy:
  """The conditions that samples of a run are drawn with.

  Args:
    text: 'train' or 'test': those of the examples of this split of the
      run's set, in a fixed random order, so that any number of samples has
      them about as often; 'uniform': each class in turn.
    run: from `build.load_run`.
    workdir: of the run.
    prompts: instead: each of these in turn.

  Raises:
    ValueError: unknown, or not something that the model takes.
  """
  config, spec = run.config, run.spec
  names = build.takes(config)
  if prompts is not None:
    return _prompted(prompts, run, workdir)
  if text == 'uniform':
    if names != ('label',):
      raise ValueError(
        'uniform labels are of a model of labels alone; this one takes '
        f'{", ".join(names) or "no condition"}'
      )
    num = spec.num_classes
    return Policy(
      'each class in turn',
      lambda index: {'label': (index % num).astype(np.int32)},
      {'label': np.int32(num)},
    )
  if not names:
    return Policy('none', lambda index: {}, {})
  if text not in ('train', 'test'):
    raise ValueError(f'--labels must be train, test or uniform, got {text!r}')
  examples = build.load_examples(config, workdir, text)
  dataset = examples.dataset
  order = permutation(len(dataset), seed=0)

  def rows(index: np.ndarray) -> Cond:
    arrays = dataset.gather(order[index % len(dataset)])
    cond = {name: x for name, x in arrays.items() if name in names}
    if config.condition.low_res:
      x0 = arrays['x0'].astype(np.float32) / 127.5 - 1
      small = conditioning.shrink(x0, config.condition.low_res)
      cond['low_res'] = np.asarray(small)
    return cond

  return Policy(f'as in {dataset.name} {text}', rows, examples.null)


def images(
  run: build.Run,
  draw: Draw,
  policy: Policy,
  mesh: Mesh,
  *,
  num: int,
  seed: int,
  batch_size: int,
) -> Images:
  """Samples 0 .. num - 1, rounded to 8 bits.

  Args:
    run: from `chosen`.
    draw: from `compiled`.
    policy: from `asked_as`.
    mesh: that `draw` is compiled for.
    num: how many there are.
    seed: of all noise.
    batch_size: samples at a time, whatever is asked for at once: it is
      compiled for that.
  """
  if num < 1 or batch_size < 1:
    raise ValueError('--num and --batch-size must be at least 1')
  size = parallel.batch_size(num, batch_size, mesh)
  medium = build.make_medium(run.spec)

  def batches(some: int, start: int, stop: int) -> Iterator[np.ndarray]:
    del some
    for first in range(start, stop, size):
      index = np.arange(first, first + size, dtype=np.int32)
      # Sample i has row i modulo the length of the table.
      cond = policy.rows(index[np.argsort(index % size)])
      told = build.with_null(cond, policy.null) if cond else {}
      options = {**build.options(run.config, **told), 'seed': seed}
      drawn = medium.split(draw(run.params, options, index))
      yield np.stack(drawn)[: stop - first]

  c = run.config.sampling
  name = f'{c.sampler}, {c.steps} steps, seed {seed}'
  return Images(name, num, tuple(run.spec.shape), batches)


def compiled(run: build.Run, mesh: Mesh, mode: str = 'jit') -> Draw:
  """The sampler of a run; scale, eta, seed and weights may change later."""
  draw = build.make_sampler(run.config, run.spec)
  return parallel.compile_sample_step(draw, mesh, mode=mode)


def described(
  run: build.Run, workdir: str | Path, policy: Policy, *, seed: int, ema: bool
) -> dict[str, Any]:
  """What samples of a run depend on, as fields of `protocol.Protocol`."""
  c = run.config.sampling
  conditional = bool(policy.null)
  options = {
    'eta': c.eta,
    'times': c.times,
    'threshold': c.threshold,
    'variance': run.config.diffusion.variance,
    'params_sha256': digest(run.params),
  }
  if build.of_categories(run.config):
    options |= {'temperature': c.temperature}
  if conditional:
    options |= {
      'guidance': c.guidance,
      'interval': list(c.interval),
      'rescale': c.rescale,
    }
  if run.config.condition.low_res:
    options['augment'] = c.augment
  return {
    'samples': f'{workdir}',
    'labels': policy.name,
    'sampler': c.sampler,
    'steps': c.steps,
    'scale': c.scale if conditional else None,
    'seed': seed,
    'checkpoint': f'step {run.step}, {"average" if ema else "no average"}',
    'options': options,
  }


def digest(params: Any) -> str:
  """SHA-256 of weights: their names, shapes and values."""
  sha256 = hashlib.sha256()
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path)
    array = np.ascontiguousarray(jax.device_get(x))
    sha256.update(f'{name} {array.dtype} {array.shape}'.encode())
    sha256.update(array.tobytes())
  return sha256.hexdigest()


def _prompted(
  prompts: Sequence[str], run: build.Run, workdir: str | Path
) -> Policy:
  c = run.config.condition
  if c.text is None or c.label or c.low_res:
    raise ValueError(
      'prompts are of a model of texts alone; this one takes '
      f'{", ".join(build.takes(run.config)) or "no condition"}'
    )
  reader, num = build.make_prompts(run.config, workdir), len(prompts)
  cut = sum(reader.count(prompt) > reader.length for prompt in prompts)
  name = f'{num} prompts in turn' + (f', {cut} of them cut' if cut else '')
  null = {name: x[0] for name, x in reader.encode(['']).items()}
  # Not all at once: a frozen encoder makes much of a prompt.
  rows = lambda index: reader.encode([prompts[i % num] for i in index])
  return Policy(name, rows, null)
