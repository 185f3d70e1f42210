"""Sharding rules, and the memory that dividing a state saves."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest
import tiny
from jax.sharding import PartitionSpec

from jaxdiff import config as c
from jaxdiff import parallel

ABSTRACT = {
  name: {'dense': {'kernel': jax.ShapeDtypeStruct((8, 64), jnp.float32)}}
  for name in ('params', 'ema_params')
} | {'norm': jax.ShapeDtypeStruct((64,), jnp.float32)}


SPECS = ((), ('fsdp',), (None, 'fsdp'))


def specs(*rules, fsdp=4, state=ABSTRACT):
  mesh = parallel.make_mesh(fsdp)
  placed = parallel.state_sharding(state, mesh, min_size=16, rules=rules)
  return [x.spec for x in jax.tree.leaves(placed)]


def test_the_first_rule_that_names_an_array_decides():
  whole, first, second = map(lambda spec: PartitionSpec(*spec), SPECS)
  # In the order of their names: ema_params, norm, params.
  assert specs() == [second, first, second]
  assert specs('dense/kernel=0', 'norm=none') == [first, whole, first]
  assert specs('^params/=0', 'kernel=none') == [whole, first, first]
  assert specs('kernel=0', fsdp=1) == [whole] * 3


def test_impossible_rules_are_refused():
  with pytest.raises(ValueError, match=r'kernel=2 cannot divide ema_params/.*'):
    specs('kernel=2')
  odd = {'kernel': jax.ShapeDtypeStruct((6, 4), jnp.float32)}
  with pytest.raises(ValueError, match=r'kernel \[6, 4\] over 4 devices'):
    specs('kernel=0', state=odd)
  with pytest.raises(ValueError, match='bias=0 is the first for no array'):
    specs('bias=0')
  for rule in ('kernel', 'kernel=x', '(=0', 'kernel=-1'):
    with pytest.raises(ValueError, match='--parallel.rules must be like'):
      c.Parallel(rules=(rule,))


@pytest.mark.slow
def test_memory_of_a_device_falls_as_the_state_is_divided():
  config = tiny.changed(tiny.config, network={'channels': 32})
  task = tiny.make_task(config)
  abstract = jax.eval_shape(task.init, jax.random.key(0))
  batch = {
    'x0': jax.ShapeDtypeStruct((16, 8, 8, 1), jnp.float32),
    'cond': {},
  }
  used, gathered = {}, {}
  for fsdp in (1, 8):
    mesh = parallel.make_mesh(fsdp)
    sharding = parallel.state_sharding(abstract, mesh, min_size=256)
    step = parallel.jit_train_step(task.step, mesh, sharding)
    lowered = step.lower(abstract, batch)
    gathered[fsdp] = lowered.as_text().count('sdy.sharding_constraint')
    memory = lowered.compile().memory_analysis()
    parts = jax.tree.map(
      lambda x, where: where.shard_shape(x.shape), abstract, sharding
    )
    sizes = jax.tree.map(
      lambda x, shape: int(jnp.prod(jnp.array(shape, int))) * 4,
      abstract,
      parts,
    )
    used[fsdp] = memory.argument_size_in_bytes, sum(jax.tree.leaves(sizes))
  for argument, predicted in used.values():
    rows = 16 // 8 * 64 * 4
    assert argument == pytest.approx(predicted + rows, rel=0.02)
  assert used[8][0] < 0.25 * used[1][0]
  # Or XLA for TPUs divides products as parameters are, and moves the examples.
  assert gathered == {1: 0, 8: len(jax.tree.leaves(abstract.params))}


@pytest.mark.parametrize('remat', [False, True])
def test_stacked_blocks_are_gathered_one_at_a_time(remat):
  """By name outside of their loop, whose arrays have 5 layers, or inside."""
  network = c.DiT(width=8, depth=5, num_heads=2, patch_size=4, remat=remat)
  task = tiny.make_task(dataclasses.replace(tiny.config, network=network))
  abstract = jax.eval_shape(task.init, jax.random.key(0))
  batch = {'x0': jax.ShapeDtypeStruct((8, 8, 8, 1), jnp.float32), 'cond': {}}
  mesh = parallel.make_mesh(8)
  sharding = parallel.state_sharding(abstract, mesh, min_size=1)
  text = parallel.jit_train_step(task.step, mesh, sharding).lower(
    abstract, batch
  )
  found = re.findall(
    r'sdy.sharding_constraint .*: tensor<(.*)>', text.as_text()
  )
  blocks = jax.tree.leaves(abstract.params['blocks'])
  others = len(jax.tree.leaves(abstract.params)) - len(blocks)
  assert {x.shape[0] for x in blocks} == {5}
  assert not any(shape.startswith('5x') for shape in found)
  assert len(found) == others + (1 + remat) * len(blocks)


class Device:
  """A device of one of several slices, as far as meshes look at it."""

  platform, device_kind, client = 'gpu', 'fake', None

  def __init__(self, index, slice_index):
    self.id, self.slice_index = index, slice_index
    self.process_index = slice_index


@pytest.mark.parametrize('fsdp', [1, 2, 4])
def test_parameters_are_divided_within_a_slice(fsdp):
  devices = [Device(i, i // 4) for i in range(12)]
  mesh = parallel.make_mesh(fsdp, devices[::-1])
  assert mesh.shape == {'data': 12 // fsdp, 'fsdp': fsdp}
  assert {d.id for d in mesh.devices.flat} == set(range(12))
  for row in mesh.devices:
    assert len({d.slice_index for d in row}) == 1
  # Neighbours along data are of one slice but at its ends.
  slices = [row[0].slice_index for row in mesh.devices]
  assert slices == sorted(slices) or slices == sorted(slices)[::-1]
  with pytest.raises(ValueError, match='fsdp 6 does not divide the 4 devices'):
    parallel.make_mesh(6, devices)
