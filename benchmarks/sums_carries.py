"""Does a model of sums add? How often it is right about what is hidden.

  python -m benchmarks.sums_carries runs/sums

Each character of the 2,000 test sums is hidden alone, then all three of the
result at once, where the hundreds need a carry that is not there yet.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxdiff import build, data, parallel


@dataclass(frozen=True)
class Options:
  """A run of configs/sums.py."""

  workdir: tyro.conf.Positional[str]


def main(options: Options) -> None:
  run = build.load_run(options.workdir, parallel.make_mesh())
  network = build.make_network(run.config, run.spec)
  test = data.load('sums', 'test')
  x0, mask = test.gather(np.arange(len(test)))['x0'], run.spec.categories

  @jax.jit
  def log_probs(xt: jax.Array) -> jax.Array:
    logits = network.apply({'params': run.params}, xt, jnp.ones(len(xt)))
    return jax.nn.log_softmax(logits[..., :mask])

  for hidden in ([0], [1], [2], [4], [5], [6], [8], [9], [10], [8, 9, 10]):
    xt = x0.copy()
    xt[:, hidden] = mask
    log_p = np.asarray(log_probs(xt))[:, hidden]
    right = (log_p.argmax(-1) == x0[:, hidden]).mean(0)
    of = np.take_along_axis(log_p, x0[:, hidden, None], -1)[..., 0]
    shown = ''.join(
      '_' if i in hidden else c for i, c in enumerate('abc+def=ghi')
    )
    each = ', '.join(
      f'{p:.2%} right at {nats:.4f} nats'
      for p, nats in zip(right, -of.mean(0), strict=True)
    )
    print(f'{shown}  {each}')


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
