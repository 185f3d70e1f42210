"""Frechet distance of images that are noised to t and restored, for several t.

  python -m benchmarks.restoration runs/fashion_mnist \\
      --features classifier:runs/classifier_fashion_mnist

Shows at which noise levels a model loses quality. Restored from a small t the
images keep their shapes, and only what the model draws there can be wrong. t =
1 draws free samples. t = 0 returns the images: the floor of the metric. The run
has no condition. WORKDIR/restoration.json has the table.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array

from benchmarks import minutes
from jaxdiff import data, editing, files, malloc, parallel, samplers, scripts
from jaxdiff.config import Section, parse_flags
from jaxdiff.config.ranges import Count, Fraction
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.job import load_run
from jaxdiff.generation.sampler import (
  Edit,
  Parts,
  make_sampler,
  traced_options,
)
from jaxdiff.modalities import pictures
from jaxdiff.runs import examples


@dataclass(frozen=True)
class Options(Section):
  """Restores training images by a run without a condition."""

  workdir: Annotated[str, tyro.conf.Positional]
  features: str
  times: tuple[Fraction, ...] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
  num: Count = 1000
  sampler: str = 'ancestral'
  steps: Count = 100  # from t = 1; from a smaller t as many fewer
  checkpoint: Count | None = None
  seed: int = 0
  batch: Count = 250


def restore(t: float) -> Edit:
  """Builds the edit of 'images' [B, H, W, C]: noised to t and sampled back."""

  def edit(parts: Parts, options: Mapping[str, Array], index: Array) -> Array:
    del index
    start = editing.sdedit(
      parts.process, parts.prior_keys, options['images'], parts.times, t
    )
    return samplers.sample(parts.step, parts.denoiser, parts.step_keys, *start)

  return edit


def main(options: Options) -> None:
  minutes.check_features(options.features)
  flags = Flags(
    workdir=options.workdir,
    sampler=options.sampler,
    steps=options.steps,
    checkpoint=options.checkpoint,
  )
  mesh = parallel.local_mesh()
  run = load_run(options.workdir, flags, mesh)
  if run.model.takes or run.config.latent.autoencoder:
    raise ValueError(f'{options.workdir} has conditions or latents')
  name = run.config.data.name
  found = examples.load(run.config, run.workdir, 'train', run.spec).dataset
  images = data.subset(found, options.num).gather
  out, rows = Path(options.workdir) / 'restoration', {}
  out.mkdir(exist_ok=True)
  for t in options.times:
    edit = make_sampler(run.model, run.config.sampling, edit=restore(t))
    draw, parts = parallel.jit_sample_step(edit, mesh), []
    for start in range(0, options.num, options.batch):
      index = np.arange(start, min(start + options.batch, options.num))
      given = traced_options(run.config, seed=options.seed)
      given['images'] = jnp.float32(images(index)['x0']) / 127.5 - 1
      x = draw(run.params, given, index).x
      parts.append(pictures.to_uint8(np.asarray(x)))
    samples = out / f'{t:g}.npz'
    files.write_npz(samples, arr_0=np.concatenate(parts))
    score = out / f'{t:g}.json'
    score.unlink(missing_ok=True)
    rows[f'{t:g}'] = minutes.distance(
      samples, score, '--reference', name, '--features', options.features
    )
  path = Path(options.workdir) / 'restoration.json'
  path.write_text(json.dumps(rows, indent=1))
  print('| restored from t | distance |\n|---|---|')
  for t, value in rows.items():
    print(f'| {t} | {value:.3f} |')


if __name__ == '__main__':
  malloc.relaunch()
  with scripts.ending('benchmarks.restoration'):
    main(parse_flags(Options))
