"""Plans a run on TPUs without one: `python -m jaxdiff.plan --help`.

The train step of a configuration, or its sampler, is compiled for a TPU
topology by libtpu. Its memory, arithmetic and traffic per chip give its least
time and show whether it fits, see `roofline`.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdiff import config as configs
from jaxdiff import hlo, models, parallel, training
from jaxdiff.checks import whole
from jaxdiff.config import Categorical, Classification, Config, Spec
from jaxdiff.config.networks import FITTING
from jaxdiff.models import optimizer as optimizers
from jaxdiff.parallel.topology import topology
from jaxdiff.roofline import Plan, report
from jaxdiff.runs import examples

FROZEN = ('clip', 't5')  # encoders of text that are in files


def compile_train_step(
  config: Config, spec: Spec, devices: Sequence[Any]
) -> Plan:
  """Compiles the train step of a configuration for devices.

  Args:
    config: of the run; `training.batch_size` is that of all devices.
    spec: of its data.
    devices: of a topology.

  Raises:
    MemoryError: the step does not fit.
  """
  c = config.training
  mesh = parallel.make_mesh(config.parallel.fsdp, devices)
  parallel.check_batch_size(c.batch_size, mesh, c.accumulate)
  model = models.make(config, spec)
  base = jax.eval_shape(model.init, jax.random.key(0))
  trained = models.trained(config, model, base)
  task = training.make_task(
    optimizer=optimizers.make(config.optimizer, c.num_steps),
    **trained._asdict(),
    **optimizers.step_options(config),
  )
  state = jax.eval_shape(task.init, jax.random.key(0))
  sharding = parallel.state_sharding(state, mesh, rules=config.parallel.rules)
  batch = _batch(config, spec, model.takes)
  step = parallel.jit_train_step(task.step, mesh, sharding, task.frozen)
  given = () if task.frozen is None else (task.frozen,)
  memory = {
    'parameters': _per_device(state.params, sharding.params),
    'averages': _per_device(
      (state.ema_params, state.averages),
      (sharding.ema_params, sharding.averages),
    ),
    'optimizer': _per_device(state.opt_state, sharding.opt_state),
    'batch': _size(batch) / mesh.size,
    'frozen': _size(task.frozen),
  }
  return _compiled(step.lower(state, batch, *given), memory, 'a step')


def compile_sampler(config: Config, spec: Spec, devices: Sequence[Any]) -> Plan:
  """Compiles the sampler of a configuration: all steps of a batch.

  Args and Raises are those of `compile_train_step`.
  """
  from jaxdiff.generation.sampler import make_sampler, traced_options

  c, mesh = config.sampling, parallel.make_mesh(devices=devices)
  parallel.check_batch_size(config.training.batch_size, mesh)
  model = models.make(config, spec)
  cond = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype),
    _batch(config, spec, model.takes)['cond'],
  )
  null = None if c.scale == 1 else cond
  options = traced_options(config, cond, null, frozen=model.frozen)
  params = jax.eval_shape(model.init, jax.random.key(0))
  index = jax.ShapeDtypeStruct((config.training.batch_size,), jnp.int32)
  draw = parallel.jit_sample_step(make_sampler(model, c), mesh)
  memory = {'parameters': _size(params), 'frozen': _size(model.frozen)}
  subject = f'sampling in {c.steps} steps'
  return _compiled(draw.lower(params, options, index), memory, subject)


def _compiled(lowered: Any, memory: dict[str, float], subject: str) -> Plan:
  """Compiles a program, whose arguments take this memory."""
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' in str(error):
      raise MemoryError(_shortest(str(error))) from None
    raise
  used = compiled.memory_analysis()
  memory['activations'] = used.temp_size_in_bytes
  memory['program'] = used.generated_code_size_in_bytes
  return Plan(memory, hlo.costs(compiled.as_text()), subject)


def _spec(config: Config, flags: argparse.Namespace) -> Spec | None:
  """Returns the spec of --shape, or None without it.

  Raises:
    ValueError: a number is out of range, or the run needs one more, or has
      data that --shape cannot describe.
  """
  c, n, labels = config.condition, flags.categories, flags.num_classes
  if flags.shape is None:
    if any(x is not None for x in (labels, n, flags.text_shape)):
      raise ValueError('--num-classes, --categories, --text-shape need --shape')
    return None
  if type(config.network).__name__ in FITTING['graph']:
    raise ValueError('--shape is not for graphs: leave it out to read the data')
  shape = tuple(flags.shape)
  for flag, low, values in (
    ('--shape', 1, shape),
    ('--num-classes', 1, (labels,)),
    ('--categories', 2, (n,)),
    ('--text-shape', 1, flags.text_shape or ()),
  ):
    for value in values:
      if value is not None:
        whole(flag, value, low, 1_000_000)
  modality = {1: 'text' if n else 'points', 3: 'image'}.get(len(shape))
  if modality is None:
    raise ValueError(f'--shape must be H W C, L or D, got {shape}')
  categorical = isinstance(config.diffusion, Categorical)
  if n is None and categorical:
    what = 'text' if len(shape) == 1 else 'categories'
    raise ValueError(f'--shape of {what} needs --categories')
  if n is not None and not categorical:
    raise ValueError('--categories are for diffusion=Categorical(...)')
  of_labels = c.label or isinstance(config.diffusion, Classification)
  if labels is None and of_labels:
    raise ValueError('--shape needs --num-classes: this run reads labels')
  if c.text in FROZEN and flags.text_shape is None:
    raise ValueError(
      f'--shape needs --text-shape, such as 77 768: what {c.text} makes of a '
      'text'
    )
  if c.text not in FROZEN and flags.text_shape is not None:
    raise ValueError(
      f'--text-shape is for --condition.text of {FROZEN}, got {c.text}'
    )
  width = flags.text_shape[1] if flags.text_shape else c.width
  return Spec(
    modality,
    shape,
    labels,
    (width, width) if c.text else None,
    categories=n,
    symbols=None if n is None else tuple(map(chr, range(97, 97 + n))),
    marginals=None if n is None else (1 / n,) * n,
  )


def _batch(config: Config, spec: Spec, takes: Sequence[str]) -> dict[str, Any]:
  """Returns the shapes and types of a batch of training."""
  size = config.training.batch_size
  kind = jnp.int32 if spec.categories else jnp.float32
  x0 = jax.tree.map(
    lambda shape: jax.ShapeDtypeStruct((size, *shape), kind),
    spec.shape,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  cond = {}
  if 'label' in takes or isinstance(config.diffusion, Classification):
    cond['label'] = jax.ShapeDtypeStruct((size,), jnp.int32)
  if 'tokens' in takes:
    shape = (size, config.condition.length)
    cond['tokens'] = jax.ShapeDtypeStruct(shape, jnp.int32)
  elif 'text' in takes:
    (width, vector), length = spec.text_dims, config.condition.length
    of_text = {
      'text': ((size, length, width), jnp.float32),
      'pooled': ((size, vector), jnp.float32),
      'mask': ((size, length), bool),
    }
    cond |= {
      name: jax.ShapeDtypeStruct(*of_text[name])
      for name in takes
      if name in of_text
    }
  return {'x0': x0, 'cond': cond}


def _size(tree: Any) -> float:
  """Bytes of all arrays."""
  return float(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree)))


def _per_device(state: Any, sharding: Any) -> float:
  """Bytes of a part of the state on each device."""
  sizes = jax.tree.map(
    lambda x, where: math.prod(where.shard_shape(x.shape)) * x.dtype.itemsize,
    state,
    sharding,
  )
  return float(sum(jax.tree.leaves(sizes)))


def _shortest(message: str) -> str:
  """The line of a long message of the compiler that says what is too large."""
  lines = [line.strip() for line in message.splitlines()]
  return next((x for x in lines if 'Ran out of memory' in x), lines[0])


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    'python -m jaxdiff.plan',
    description='Compiles a train step, or a sampler, for a TPU topology '
    'without a TPU. Flags of train.py change the configuration.',
    allow_abbrev=False,
  )
  parser.add_argument('config', help='a file of configs/')
  parser.add_argument('--topology', default='v5e:4x4', help='such as v5p:4x4x4')
  parser.add_argument(
    '--shape', type=int, nargs='+', help='of an example or latent: no data read'
  )
  parser.add_argument('--num-classes', type=int, help='with --shape')
  parser.add_argument('--categories', type=int, help='with --shape, of text')
  parser.add_argument(
    '--text-shape',
    type=int,
    nargs=2,
    help='with --shape: length and width of an encoded prompt',
  )
  parser.add_argument(
    '--largest', action='store_true', help='double the batch until it is full'
  )
  parser.add_argument('--sample', action='store_true', help='plan the sampler')
  flags, rest = parser.parse_known_args(argv)
  jax.config.update('jax_platforms', 'cpu')  # the host computes nothing on TPUs
  # A program that is kept can be read only where there are TPUs.
  jax.config.update('jax_enable_compilation_cache', False)
  try:
    config = configs.parse(['--config', flags.config, *rest])
    if flags.shape and config.latent.autoencoder:
      print('--shape is that of latents; their autoencoder is left out')
      config = dataclasses.replace(config, latent=configs.Latent())
    spec = _spec(config, flags)
    if flags.text_shape:
      print(
        '--text-shape is that of encoded prompts; their encoder is left out'
      )
      config = dataclasses.replace(
        config,
        condition=dataclasses.replace(
          config.condition, length=flags.text_shape[0]
        ),
      )
    chip, devices = topology(flags.topology)
    if spec is None:
      spec = examples.load(config, config.workdir).spec
    compile_plan = compile_sampler if flags.sample else compile_train_step
    num, largest = len(devices), None
    while True:
      size = config.training.batch_size
      print(
        f'{config.config} on {flags.topology}, {num} chips: a batch of '
        f'{size:,}, {size // num:,} a chip, in {config.network.dtype}',
        flush=True,
      )
      try:
        plan = compile_plan(config, spec, devices)
      except MemoryError as error:
        if largest is None:
          raise
        print(error)
        break
      print('\n'.join(report(config, chip, num, plan)), flush=True)
      fits = sum(plan.memory.values()) <= chip.memory
      if not flags.largest or not fits:
        break
      largest = size
      larger = dataclasses.replace(config.training, batch_size=2 * size)
      config = dataclasses.replace(config, training=larger)
    if largest is not None:
      print(f'the largest batch that fits: {largest:,}')
  except (ValueError, OSError, MemoryError) as error:
    sys.exit(f'jaxdiff.plan: {error}')


if __name__ == '__main__':
  main()
