"""Does an enlarged image say what the small one says?

  python -m benchmarks.super_resolution runs/emoji_large

Images of the set are made small and enlarged by the run. `consistent` is the
PSNR, in dB, of the result made small again against what it was made from;
`true` that of the result against the original, which a sample need not reach:
many large images have one small one. Beside both, bicubic enlargement, and
`sharp`, the mean absolute difference of neighbouring pixels over that of the
originals. Writes WORKDIR/enlarged.png: small, enlarged twice, bicubic, true.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxdiff import build, conditioning, parallel, pictures


@dataclasses.dataclass(frozen=True)
class Options:
  """Scores a run that enlarges."""

  workdir: tyro.conf.Positional[str]
  num: int = 64
  split: str = 'train'
  seed: int = 0


def psnr(a: np.ndarray, b: np.ndarray) -> float:
  """Of images in [-1, 1], mean over images, in dB."""
  error = np.square(a - b).mean(axis=(1, 2, 3))
  return float(np.mean(10 * np.log10(4 / np.maximum(error, 1e-12))))


def edges(x: np.ndarray) -> float:
  """Mean absolute difference of pixels that are neighbours in a row."""
  return float(np.abs(np.diff(x, axis=2)).mean())


def main(options: Options) -> None:
  parallel.start()
  workdir = Path(options.workdir)
  mesh = parallel.make_mesh(devices=jax.local_devices()[:1])
  run = build.load_run(workdir, mesh)
  examples = build.load_examples(run.config, workdir, options.split)
  # From all over the set.
  index = np.linspace(0, len(examples.dataset) - 1, options.num).astype(int)
  arrays = examples.dataset.gather(index)
  true = arrays['x0'].astype(np.float32) / 127.5 - 1
  size = run.config.condition.low_res
  small = np.asarray(conditioning.shrink(true, size))
  draw = jax.jit(build.make_sampler(run.config, run.spec))

  def enlarge(seed: int) -> np.ndarray:
    told = build.options(run.config, cond={'low_res': small})
    told = {**told, 'seed': seed}
    images = draw(run.params, told, np.arange(options.num))
    return np.clip(np.asarray(images), -1, 1)

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
    sharp = edges(images) / edges(true)
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
