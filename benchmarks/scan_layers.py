"""DiT's blocks as one loop against blocks one by one: compiling and memory.

  python -m benchmarks.scan_layers --depth 12 --width 384 --heads 6

Both have the same parameters, as they lie in a checkpoint, and the gradient of
the same loss. The networks use the loop.
"""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks import measuring
from jaxdiff.networks.blocks import rematerialised, stacked
from jaxdiff.networks.dit import DiTBlock


@dataclass(frozen=True)
class Options:
  """Measures compiling, time and memory of blocks in a loop and one by one.

  The sizes are those of DiT-S/2 by default.
  """

  depth: int = 12
  width: int = 384
  heads: int = 6
  length: int = 64
  batch_size: int = 8
  remat: bool = False


def main(options: Options) -> None:
  o = options
  print(measuring.machine())
  settings = o.heads, jnp.float32, False, False, False, None
  loop = stacked(DiTBlock, o.depth, o.remat)(*settings)
  block = rematerialised(DiTBlock, o.remat)(*settings)
  x = jnp.ones((o.batch_size, o.length, o.width))
  emb = jnp.ones((o.batch_size, o.width))
  shapes = jax.eval_shape(loop.init, jax.random.key(0), x, emb, None, None)
  rng = np.random.default_rng(0)
  draw = lambda x: 0.02 * rng.standard_normal(x.shape, np.float32)
  params = jax.tree.map(draw, shapes)

  def one_by_one(params, x):
    for i in range(o.depth):
      own = jax.tree.map(lambda leaf, i=i: leaf[i], params)
      x, _ = block.apply(own, x, emb, None, None)
    return jnp.mean(x**2)

  def looped(params, x):
    return jnp.mean(loop.apply(params, x, emb, None, None)[0] ** 2)

  found, values = {}, []
  for name, loss in (('loop', looped), ('one by one', one_by_one)):
    start = time.process_time()
    compiled = jax.jit(jax.value_and_grad(loss)).lower(params, x).compile()
    seconds = time.process_time() - start
    used = compiled.memory_analysis()
    found[name] = seconds, used.temp_size_in_bytes / 2**20
    values.append(float(compiled(params, x)[0]))
    print(
      f'{name}: {seconds:.1f} CPU seconds to compile, '
      f'{found[name][1]:.0f} MiB of temporary memory, loss {values[-1]:.6f}'
    )
  ratios = [a / b for a, b in zip(*found.values(), strict=True)]
  print(f'loop / one by one: {ratios[0]:.2f} and {ratios[1]:.2f}')


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
