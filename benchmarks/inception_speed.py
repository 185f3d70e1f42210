"""Inception's features, ours and pytorch-fid's, in turns in one run.

  pip install torch torchvision pytorch-fid
  python -m benchmarks.inception_speed --batch-size 8 --rounds 9

Random weights: the time does not depend on them. CPU seconds of the process,
so that what else runs on the machine counts little.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro
from pytorch_fid import inception as pytorch_fid
from torchvision.models import inception_v3

from jaxdiff import parallel
from jaxdiff.networks.inception import Inception


@dataclass(frozen=True)
class Options:
  """Times Inception's features, ours and pytorch-fid's.

  Both take images of 299x299, already resized.
  """

  batch_size: int = 8
  rounds: int = 9


def ours(images: np.ndarray) -> Callable[[], Any]:
  x = jnp.asarray(images)
  shapes = jax.eval_shape(Inception().init, jax.random.key(0), x[:1])['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda s: jnp.asarray(0.01 * rng.random(s.shape, np.float32)), shapes
  )
  apply = jax.jit(lambda params, x: Inception().apply({'params': params}, x))
  return lambda: jax.block_until_ready(apply(params, x))


def theirs(images: np.ndarray) -> Callable[[], Any]:
  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  net = inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
  state = net.state_dict()
  pytorch_fid.load_state_dict_from_url = lambda *_, **__: state
  network = pytorch_fid.InceptionV3([3], resize_input=False).eval()

  def run() -> None:
    with torch.no_grad():
      network(x)

  return run


def main(options: Options) -> None:
  parallel.start()
  size = (options.batch_size, 299, 299, 3)
  images = np.random.default_rng(1).random(size, np.float32)
  sides = {'jaxdiff': ours(images), 'pytorch-fid': theirs(images)}
  for run in sides.values():
    run()  # compiled, warm
  seconds: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(options.rounds):
    for name, run in sides.items():
      start = time.process_time()
      run()
      seconds[name].append(time.process_time() - start)
  for name, each in seconds.items():
    low, middle, high = np.percentile(each, [25, 50, 75])
    rate = options.batch_size / middle
    print(f'{name:12} {middle:.3f} s ({low:.3f} - {high:.3f}), {rate:.2f} / s')
  ratios = np.divide(seconds['jaxdiff'], seconds['pytorch-fid'])
  low, middle, high = np.percentile(ratios, [25, 50, 75])
  print(f'ratio of CPU time {middle:.3f} ({low:.3f} - {high:.3f})')


if __name__ == '__main__':
  main(tyro.cli(Options))
