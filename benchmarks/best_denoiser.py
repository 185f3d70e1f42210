"""Error of a denoiser beside that of the best one, at high noise levels.

  python -m benchmarks.best_denoiser runs/fashion_mnist

If the data were exactly the training images, the best estimate E[x0 | xt] would
be their mean with weights w = p(xt | x0), normalised by a softmax. At high
noise many images have weight. The best estimate is then close to that of the
true distribution. At low noise one image has all the weight. The best estimate
then repeats training images, and a network should not match it. xt is made from
images of the test split.

  images  number of images with weight, 1 / sum w^2, the median over examples
  mse     mean (estimate - x0)^2 of a pixel, of the best and of the network
  excess  mean (network - best)^2
  slope   regression of the network's estimate on the best one, both less the
          mean image; below 1 the samples have too little contrast
"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxdiff import data, malloc, parallel, scripts
from jaxdiff.config import Section, parse_flags
from jaxdiff.config.ranges import Count, Fraction
from jaxdiff.generation.flags import SamplerFlags
from jaxdiff.generation.job import load_run
from jaxdiff.runs import examples


@dataclass(frozen=True)
class Options(Section):
  """Compares a run of images, without conditions, with the best denoiser."""

  workdir: Annotated[str, tyro.conf.Positional]
  times: tuple[Fraction, ...] = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
  num: Count = 256
  checkpoint: Count | None = None


def best(
  images: np.ndarray, xt: np.ndarray, alpha: float, sigma: float
) -> tuple[np.ndarray, float]:
  """Computes E[x0 | xt] for data of these images, and how many have weight.

  Args:
    images: [N, D] of the data.
    xt: [B, D] at the noise level (alpha, sigma).

  Returns:
    The estimates [B, D], and the median of 1 / sum w^2.
  """
  squares = (images**2).sum(1)
  logits = (alpha * xt @ images.T - alpha**2 / 2 * squares) / sigma**2
  weights = np.exp(logits - logits.max(1, keepdims=True))
  weights /= weights.sum(1, keepdims=True)
  return weights @ images, float(np.median(1 / (weights**2).sum(1)))


def main(options: Options) -> None:
  flags = SamplerFlags(checkpoint=options.checkpoint)
  run = load_run(options.workdir, flags, parallel.local_mesh())
  model = run.model
  if model.takes or model.schedule is None or run.config.latent.autoencoder:
    raise ValueError(f'{options.workdir} has conditions, categories or latents')
  split = lambda name: (
    examples.load(run.config, run.workdir, name, run.spec).dataset
  )
  train = _pixels(split('train'))
  x0 = _pixels(data.subset(split('test'), options.num))
  flat = train.reshape(len(train), -1)
  mean, denoise = flat.mean(0), jax.jit(model.denoiser(run.params, {}))
  print('| t | images | mse, best | mse, network | excess | slope |')
  print('|---|---|---|---|---|---|')
  for t in options.times:
    alpha, sigma = map(float, model.schedule(jnp.float32(t)))
    eps = np.random.default_rng(0).standard_normal(x0.shape, np.float32)
    xt = alpha * x0 + sigma * eps
    wanted, num = best(flat, xt.reshape(len(xt), -1), alpha, sigma)
    found = np.asarray(denoise(xt, jnp.full(len(xt), t))).reshape(wanted.shape)
    error = [((x - x0.reshape(x.shape)) ** 2).mean() for x in (wanted, found)]
    centred = wanted - mean
    slope = ((found - mean) * centred).sum() / (centred**2).sum()
    print(
      f'| {t:g} | {num:,.0f} | {error[0]:.4f} | {error[1]:.4f} '
      f'| {((found - wanted) ** 2).mean():.4f} | {slope:.3f} |',
      flush=True,
    )


def _pixels(dataset: data.Dataset) -> np.ndarray:
  """Reads all images, float32 [N, H, W, C] in [-1, 1]."""
  parts = np.array_split(np.arange(len(dataset)), -(-len(dataset) // 4096))
  x = np.concatenate([dataset.gather(part)['x0'] for part in parts])
  return x.astype(np.float32) / 127.5 - 1


if __name__ == '__main__':
  malloc.relaunch()
  with scripts.ending('benchmarks.best_denoiser'):
    main(parse_flags(Options))
