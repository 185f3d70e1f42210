"""The jaxdiff sides of the comparisons: what train.py and sample.py run."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Case
from benchmarks.measuring import Side
from jaxdiff import models, parallel, training
from jaxdiff.config import Config
from jaxdiff.generation import sampler
from jaxdiff.generation.job import job_of_run
from jaxdiff.models import Model, networks
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import Run


def with_dtype(config: Config, bfloat16: bool) -> Config:
  """Returns the configuration with its network in bfloat16 or float32."""
  kind = 'bfloat16' if bfloat16 else 'float32'
  network = dataclasses.replace(config.network, dtype=kind)
  return dataclasses.replace(config, network=network)


def random_images(case: Case, batch_size: int) -> np.ndarray:
  """Draws [B, H, W, C] in [-1, 1]; times do not depend on the content."""
  rng = np.random.default_rng(0)
  return rng.uniform(-1, 1, (batch_size, *case.shape)).astype(np.float32)


def make_task(config: Config, model: Model) -> training.Task:
  """Builds the training task as train.py does."""
  return training.make_task(
    model.init,
    model.loss,
    optimizers.make(config.optimizer, config.training.num_steps),
    **optimizers.step_options(config),
  )


def train_step(
  case: Case,
  batch: np.ndarray,
  bfloat16: bool = False,
  *,
  counted: bool = True,
) -> Side:
  """The training step of train.py, its batch given from the host.

  Args:
    case: the network that is trained.
    batch: images [B, H, W, C] in [-1, 1].
    bfloat16: the network computes in it.
    counted: whether XLA counts FLOPs and bytes, of a program of its own that
      takes as much of this process's memory as the step's.
  """
  parallel.start()
  config = with_dtype(case.config, bfloat16)
  task = make_task(config, models.make(config, case.spec))
  # As `runs.loop.fit` does.
  mesh = parallel.make_mesh(config.parallel.fsdp)
  key = jax.random.key(config.seed)
  abstract = jax.eval_shape(task.init, key)
  sharding = parallel.state_sharding(abstract, mesh)
  step = parallel.compile_train_step(
    task.step, mesh, sharding, mode=config.parallel.mode
  )
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
  network = networks.make(config, case.spec, out_channels=case.shape[-1])
  params = initial(network.init, config)
  xt = jax.random.normal(jax.random.key(1), (batch_size, *case.shape))
  t = jnp.full(batch_size, 0.5)
  apply = jax.jit(lambda params, xt, t: network.apply(params, xt, t, {}))
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
  chosen = dataclasses.replace(config.sampling, sampler='ddim', steps=steps)
  config = dataclasses.replace(config, sampling=chosen)
  model = models.make(config, case.spec)
  params = initial(model.init, config)
  run = Run(Path(config.workdir), config, case.spec, model, 0, params)
  job = job_of_run(run, parallel.local_mesh(), num=batch_size)
  index = np.arange(batch_size)
  options = job.options(index)
  draw = jax.jit(sampler.make_sampler(model, chosen))
  compiled = draw.lower(params, options, index).compile()
  return Side(
    lambda: np.asarray(job.draw(params, options, index).x),
    count(params),
    # A loop's body is counted once by XLA.
    steps * evaluation(case, batch_size, bfloat16).flops,
    compiled.memory_analysis().temp_size_in_bytes,
  )


def initial(init: Any, config: Config) -> Any:
  """Draws parameters before any training, from key -> params."""
  key = jax.random.key(config.seed)
  sharding = parallel.state_sharding(
    jax.eval_shape(init, key), parallel.make_mesh()
  )
  return parallel.initialise(init, key, sharding)


def count(params: Any) -> int:
  """Counts the parameters."""
  return sum(x.size for x in jax.tree.leaves(params))
