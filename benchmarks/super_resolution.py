"""Consistency, PSNR and sharpness of images enlarged by super-resolution.

  python -m benchmarks.super_resolution runs/emoji_large

Images of the data set are shrunk, and the run enlarges them again. The table
has a row for the run, for bicubic enlargement and for the originals.

  consistent  PSNR in dB of the result, shrunk again, to the small image
  true        PSNR in dB of the result to the original; a good sample may have a
              low one, as many large images shrink to the same small one
  sharp       mean absolute difference of neighbouring pixels, over that of the
              originals

Writes WORKDIR/enlarged.png. Its rows are the small images, two samples of each,
bicubic enlargement, and the originals.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxdiff import conditioning, parallel
from jaxdiff.generation.conditions import Conditions
from jaxdiff.generation.flags import SamplerFlags
from jaxdiff.generation.job import job_of_run, load_run
from jaxdiff.generation.sampler import check_finite
from jaxdiff.modalities import pictures
from jaxdiff.runs import examples


@dataclasses.dataclass(frozen=True)
class Options:
  """Scores a run that enlarges."""

  workdir: tyro.conf.Positional[str]
  num: int = 64
  split: str = 'train'
  seed: int = 0


def psnr(a: np.ndarray, b: np.ndarray) -> float:
  """Computes the mean PSNR of images in [-1, 1], in dB."""
  error = np.square(a - b).mean(axis=(1, 2, 3))
  return float(np.mean(10 * np.log10(4 / np.maximum(error, 1e-12))))


def sharpness(x: np.ndarray) -> float:
  """Computes the mean absolute difference of neighbours in a row."""
  return float(np.abs(np.diff(x, axis=2)).mean())


def main(options: Options) -> None:
  parallel.start()
  workdir = Path(options.workdir)
  mesh = parallel.make_mesh(devices=jax.local_devices()[:1])
  run = load_run(workdir, SamplerFlags(), mesh)
  if run.model.takes != ('low_res', 'augment'):
    raise SystemExit(f'{workdir} must hold a run that enlarges images')
  dataset = examples.load(run.config, workdir, options.split, run.spec).dataset
  # From all over the set.
  rows = np.linspace(0, len(dataset) - 1, options.num).astype(int)
  true = dataset.gather(rows)['x0'].astype(np.float32) / 127.5 - 1
  size = run.config.condition.low_res
  small = np.asarray(conditioning.shrink(true, size))
  given = Conditions(
    f'as in {dataset.name} {options.split}',
    lambda index: {'low_res': small},
    {},
  )
  draw, index = None, np.arange(options.num)

  def enlarge(seed: int) -> np.ndarray:
    nonlocal draw
    job = job_of_run(run, mesh, given, num=options.num, seed=seed, draw=draw)
    draw = job.draw
    # Not `job.samples`, which rounds to 256 values.
    drawn = draw(job.params, job.options(index), index)
    check_finite(drawn, index)
    return np.clip(np.asarray(drawn.x), -1, 1)

  results = {
    'enlarged': enlarge(options.seed),
    'bicubic': np.clip(jax.image.resize(small, true.shape, 'cubic'), -1, 1),
    'true': true,
  }
  print('| images | consistent | true | sharp |')
  print('|---|---|---|---|')
  for name, images in results.items():
    again = np.asarray(conditioning.shrink(jnp.asarray(images), size))
    there = '' if name == 'true' else f'{psnr(images, true):.1f}'
    sharp = sharpness(images) / sharpness(true)
    back = '' if name == 'true' else f'{psnr(again, small):.1f}'
    print(f'| {name} | {back} | {there} | {sharp:.2f} |')
  blocks = np.repeat(
    np.repeat(small, true.shape[1] // size, 1), true.shape[2] // size, 2
  )
  rows = [blocks, results['enlarged'], enlarge(options.seed + 1)]
  rows += [results['bicubic'], true]
  shown = np.concatenate([row[:12] for row in rows])
  grid = pictures.grid(pictures.to_uint8(shown), 12, 12 * 66)
  pictures.save_png(grid, workdir / 'enlarged.png')


if __name__ == '__main__':
  main(tyro.cli(Options))
