"""Accuracy of a model of sums on hidden digits, and their cross-entropy.

  python -m benchmarks.sums_carries runs/sums

Each character of the 2,000 test sums is hidden alone, then all three of the
result at once, where the hundreds need a carry that is not there yet.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxdiff import data, parallel, runs


@dataclass(frozen=True)
class Options:
  """Measures how often a run of configs/sums.py finds hidden digits."""

  workdir: tyro.conf.Positional[str]


def main(options: Options) -> None:
  run = runs.load(options.workdir, parallel.local_mesh())
  denoise = run.model.denoiser(run.params, {})
  test = data.load('sums', 'test')
  x0, mask = test.gather(np.arange(len(test)))['x0'], run.spec.categories

  @jax.jit
  def log_probs(xt: jax.Array) -> jax.Array:
    logits = denoise(xt, jnp.ones(len(xt)))
    return jax.nn.log_softmax(logits[..., :mask])

  for hidden in ([0], [1], [2], [4], [5], [6], [8], [9], [10], [8, 9, 10]):
    xt = x0.copy()
    xt[:, hidden] = mask
    log_p = np.asarray(log_probs(xt))[:, hidden]
    accuracy = (log_p.argmax(-1) == x0[:, hidden]).mean(0)
    true = np.take_along_axis(log_p, x0[:, hidden, None], -1)[..., 0]
    shown = ''.join(
      '_' if i in hidden else c for i, c in enumerate('abc+def=ghi')
    )
    each = ', '.join(
      f'{p:.2%} right at {nats:.4f} nats'
      for p, nats in zip(accuracy, -true.mean(0), strict=True)
    )
    print(f'{shown}  {each}')


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
