"""Our side: what `train.py` and `sample.py` run for a configuration."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Case
from benchmarks.measuring import Side
from jaxdiff import build, parallel
from jaxdiff.config import Config


def with_dtype(config: Config, bfloat16: bool) -> Config:
  """The configuration, computing in bfloat16."""
  kind = 'bfloat16' if bfloat16 else 'float32'
  network = dataclasses.replace(config.network, dtype=kind)
  return dataclasses.replace(config, network=network)


def random_images(case: Case, batch_size: int) -> np.ndarray:
  """[B, H, W, C] in [-1, 1]: no time depends on what they show."""
  rng = np.random.default_rng(0)
  return rng.uniform(-1, 1, (batch_size, *case.shape)).astype(np.float32)


def train_step(
  case: Case,
  batch: np.ndarray,
  bfloat16: bool = False,
  *,
  counted: bool = True,
) -> Side:
  """The step of train.py, with its batch given from the host.

  Args:
    counted: whether XLA counts FLOPs and bytes, of a program of its own that
      takes as much of this process's memory as the step's.
  """
  parallel.start()
  task = build.make_task(with_dtype(case.config, bfloat16), case.spec)
  mesh = parallel.make_mesh()
  key = jax.random.key(0)
  abstract = jax.eval_shape(task.init, key)
  sharding = parallel.state_sharding(abstract, mesh)
  step = parallel.compile_train_step(task.step, mesh, sharding)
  held = [parallel.initialise(task.init, key, sharding)]
  images = {'x0': batch, 'cond': {}}

  def run() -> float:
    held[0], metrics = step(held[0], images)
    return float(metrics['loss'])

  if not counted:
    return Side(run, count(abstract.params))
  divided = parallel.divided(mesh)
  args = (
    parallel.placed(abstract, sharding),
    parallel.placed(images, jax.tree.map(lambda _: divided, images)),
  )
  compiled = jax.jit(task.step, donate_argnums=0).lower(*args).compile()
  return Side(
    run,
    count(abstract.params),
    mesh.size * compiled.cost_analysis()['flops'],
    compiled.memory_analysis().temp_size_in_bytes,
  )


def evaluation(case: Case, batch_size: int, bfloat16: bool = False) -> Side:
  """One evaluation of the network."""
  parallel.start()
  config = with_dtype(case.config, bfloat16)
  params = initial(case, config)
  network = build.make_network(config, case.spec)
  xt = jax.random.normal(jax.random.key(1), (batch_size, *case.shape))
  t = jnp.full(batch_size, 0.5)
  apply = jax.jit(
    lambda params, xt, t: network.apply({'params': params}, xt, t)
  )
  compiled = apply.lower(params, xt, t).compile()
  return Side(
    lambda: jax.block_until_ready(apply(params, xt, t)),
    count(params),
    compiled.cost_analysis()['flops'],
  )


def sampling(
  case: Case, batch_size: int, steps: int, bfloat16: bool = False
) -> Side:
  """The sampling of sample.py: DDIM, `steps` evaluations of the network."""
  parallel.start()
  config = with_dtype(case.config, bfloat16)
  sampling = dataclasses.replace(config.sampling, sampler='ddim', steps=steps)
  config = dataclasses.replace(config, sampling=sampling)
  params = initial(case, config)
  draw = jax.jit(build.make_sampler(config, case.spec))
  args = (params, build.options(config), np.arange(batch_size))
  compiled = draw.lower(*args).compile()
  return Side(
    lambda: np.asarray(draw(*args)),
    count(params),
    # A loop's body is counted once by XLA.
    steps * evaluation(case, batch_size, bfloat16).flops,
    compiled.memory_analysis().temp_size_in_bytes,
  )


def initial(case: Case, config: Config) -> Any:
  """Parameters before any training."""
  task = build.make_task(config, case.spec)
  key = jax.random.key(0)
  sharding = parallel.state_sharding(
    jax.eval_shape(task.init, key), parallel.make_mesh()
  )
  return parallel.initialise(task.init, key, sharding).params


def count(params: Any) -> int:
  """How many numbers."""
  return sum(x.size for x in jax.tree.leaves(params))
