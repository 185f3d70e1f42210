"""train.py on digits, in this process or in one of its own."""

from pathlib import Path

import jax

import train
from jaxdiff import models, runs, training
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import Checkpoints

ROOT = Path(__file__).parents[1]
FLAGS = (
  '--network.channels 8 --network.channel-mults 1 --network.num-res-blocks 1 '
  '--network.attention-resolutions '
  '--training.batch-size 16 --training.log-every 3 --sampling.steps 2 '
  '--sampling.num 4 --optimizer.warmup-steps 2 --checkpoint.every 4 '
  '--training.preview-every 1000'
).split()


def state_of(workdir, step=None):
  """The newest state of a run, as numpy arrays."""
  config, spec = runs.read_config(workdir)
  model = models.make(config, spec)
  optimizer = optimizers.make(config.optimizer, config.training.num_steps)
  task = training.make_task(model.init, model.loss, optimizer)
  abstract = jax.eval_shape(task.init, jax.random.key(0))
  found, state = Checkpoints(workdir).restore(abstract, step)
  key = jax.random.key_data(state.key)
  return found, jax.device_get(state._replace(key=key))


def run(*args):
  train.main([*FLAGS, *map(str, args)])
