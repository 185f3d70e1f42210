"""Devices: the mesh, what lies where, and one step compiled either way.

A step is written once. Each of its arguments and results is either the same
on every device (axis None) or divided over them along its first dimension
(axis 0). `compile_step` runs it under `jit` with arrays sharded over a mesh,
or under `pmap` with one copy of the step for each device.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxdiff import cpu

AXIS = 'data'
Axis = Any  # None | 0 | a tree of NamedSharding


def start(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Joins the other processes of the job and turns the compile cache on.

  Compiled programs are kept in `JAX_COMPILATION_CACHE_DIR`, by default
  `~/.cache/jaxdiff/xla`; a second start is faster for it. What a CPU needs to
  be fast is settled too (`cpu`), so call this before anything else of jax.

  Args:
    coordinator: None for one process; 'auto' where jax finds the others by
      itself (TPU pods, SLURM, ...); else host:port of process 0.
    num_processes: with host:port, how many there are.
    process_id: with host:port, which one this is.
  """
  cpu.divide_convolutions()
  cpu.keep_memory()
  if coordinator == 'auto':
    jax.distributed.initialize()
  elif coordinator:
    jax.distributed.initialize(coordinator, num_processes, process_id)
  if not jax.config.jax_compilation_cache_dir:
    cache = Path.home() / '.cache' / 'jaxdiff' / 'xla'
    jax.config.update('jax_compilation_cache_dir', str(cache))


def placed(abstract: Any, sharding: Any) -> Any:
  """The shapes of a state, each with where it is to lie."""
  place = lambda x, where: jax.ShapeDtypeStruct(
    x.shape, x.dtype, sharding=where
  )
  return jax.tree.map(place, abstract, sharding)


def initialise(init: Callable[[Any], Any], key: Any, sharding: Any) -> Any:
  """init(key), each array made where it is to lie.

  `init` usually calls a network to learn the shapes of its parameters. XLA
  drops that forward pass, since only the parameters are asked for; what is
  left is a random draw for each, run once and not worth XLA's optimiser, which
  on a CPU is switched off for it.
  """
  cpu = jax.default_backend() == 'cpu'
  options = {'xla_backend_optimization_level': 0} if cpu else {}
  lowered = jax.jit(init, out_shardings=sharding).lower(key)
  return lowered.compile(compiler_options=options)(key)


def joined(tree: Any, sharding: Any) -> Any:
  """A state under pmap, where each process has its own, as one that all share.

  Nothing is copied. With one process, or under jit, it is that already.
  """
  if jax.process_count() == 1:
    return tree

  def join(x: Any, where: NamedSharding) -> Any:
    if x.sharding == where:
      return x
    parts = [shard.data for shard in x.addressable_shards]
    return jax.make_array_from_single_device_arrays(x.shape, where, parts)

  return jax.tree.map(join, tree, sharding)


def any_process(flag: bool) -> bool:
  """Whether the flag is up on any process. All of them must ask."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def gather(tree: Any, mesh: Mesh) -> Any:
  """A whole copy of each array on this process's first device.

  All processes must ask. What is already replicated is not moved.
  """
  if not all(x.is_fully_replicated for x in jax.tree.leaves(tree)):
    tree = jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree)
  return jax.tree.map(lambda x: x.addressable_data(0), tree)


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
  """A mesh (data, fsdp) over all devices.

  Args:
    fsdp: over how many devices each parameter is divided; the batch is divided
      over both axes.
    devices: all of them, on every process, by default.

  Raises:
    ValueError: fsdp does not divide the number of devices.
  """
  devices = list(jax.devices() if devices is None else devices)
  if fsdp < 1 or len(devices) % fsdp:
    raise ValueError(
      f'parallel.fsdp={fsdp} does not divide the {len(devices)} devices'
    )
  # Explicit axes would ask every operation for its sharding.
  return Mesh(
    np.asarray(devices).reshape(-1, fsdp),
    (AXIS, 'fsdp'),
    axis_types=(AxisType.Auto, AxisType.Auto),
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh) -> NamedSharding:
  """The first dimension over all devices."""
  return NamedSharding(mesh, PartitionSpec((AXIS, 'fsdp')))


def state_sharding(state: Any, mesh: Mesh, min_size: int = 2**16) -> Any:
  """Where each array of a training state lies.

  An array of at least `min_size` elements is divided over the fsdp axis along
  the largest of its dimensions that the axis divides; the rest is replicated.
  The optimizer's moments and the average follow the parameters, being of the
  same shapes.

  Args:
    state: a tree of arrays or of their shapes (`jax.eval_shape`).
    mesh: from `make_mesh`.

  Returns:
    A tree of NamedSharding.
  """
  fsdp = mesh.shape['fsdp']

  def place(x: Any) -> NamedSharding:
    fitting = [n for n in x.shape if n % fsdp == 0]
    if fsdp == 1 or x.size < min_size or not fitting:
      return replicated(mesh)
    dim = x.shape.index(max(fitting))
    return NamedSharding(mesh, PartitionSpec(*[None] * dim, 'fsdp'))

  return jax.tree.map(place, state)


def check_batch_size(batch_size: int, mesh: Mesh, accumulate: int = 1) -> None:
  """Raises ValueError unless the devices share each microbatch equally."""
  parts = mesh.size * accumulate
  if batch_size < 1 or accumulate < 1 or batch_size % parts:
    raise ValueError(
      f'training.batch_size={batch_size} cannot be divided into '
      f'{accumulate} microbatches on {mesh.size} devices: use a multiple of '
      f'{parts}'
    )


def batch_size(num: int, most: int, mesh: Mesh) -> int:
  """How many of `num` samples to draw at once.

  A program is compiled for each size there is, so sizes are few: four from one
  power of two to the next. At most a quarter more is drawn than asked for.

  Args:
    num: samples wanted.
    most: at once.
    mesh: every device takes the same number.
  """
  step = max(1, 2 ** (max(num - 1, 1).bit_length() - 3))
  size = min(most, -(-num // step) * step)
  return -(-size // mesh.size) * mesh.size


def compile_step(
  step: Callable[..., Any],
  mesh: Mesh,
  *,
  mode: str = 'jit',
  in_axes: Sequence[Axis],
  out_axes: Axis,
  donate_argnums: Sequence[int] = (),
) -> Callable[..., Any]:
  """The step, compiled for every device of the mesh.

  Args:
    step: (*args, axis_name=None) -> result. Under pmap `axis_name` is given:
      it then sees its part of the divided arguments, and must take its means
      over that axis. Under jit it sees whole arrays.
    mesh: from `make_mesh`.
    mode: 'jit' or 'pmap'.
    in_axes: for each argument None, 0, or (jit only) a tree of shardings. A
      divided argument is passed as this process's part of it, numpy arrays.
    out_axes: likewise for the result, or for a tuple of results.
    donate_argnums: arguments whose buffers the step may reuse.

  Raises:
    ValueError: unknown mode, or parameters divided under pmap.
  """
  if mode == 'jit':
    return _compile_jit(step, mesh, in_axes, out_axes, donate_argnums)
  if mode == 'pmap':
    if mesh.shape['fsdp'] > 1:
      raise ValueError(
        'parallel.mode=pmap keeps a whole copy of the parameters on every '
        'device; use parallel.mode=jit with parallel.fsdp > 1'
      )
    return _compile_pmap(step, mesh, in_axes, out_axes, donate_argnums)
  raise ValueError(f"parallel.mode must be 'jit' or 'pmap', got {mode!r}")


def compile_train_step(
  step: Callable[..., Any], mesh: Mesh, sharding: Any, *, mode: str = 'jit'
) -> Callable[..., Any]:
  """(state, batch) -> (state, metrics), compiled; the state is donated.

  Args:
    step: from `training.make_train_step`.
    mesh: from `make_mesh`.
    sharding: of the state, from `state_sharding`.
    mode: 'jit' or 'pmap'.
  """
  state = sharding if mode == 'jit' else None
  return compile_step(
    step,
    mesh,
    mode=mode,
    in_axes=(state, 0),
    out_axes=(state, None),
    donate_argnums=(0,),
  )


def compile_sample_step(
  draw: Callable[..., Any], mesh: Mesh, *, mode: str = 'jit'
) -> Callable[..., Any]:
  """(params, options, index[B]) -> [B, ...], compiled; B over all devices."""
  return compile_step(
    draw, mesh, mode=mode, in_axes=(None, None, 0), out_axes=0
  )


def _compile_jit(step, mesh, in_axes, out_axes, donate_argnums):
  kinds = {None: replicated(mesh), 0: divided(mesh)}
  known = lambda axis: axis is None or isinstance(axis, int)
  sharding = lambda axis: kinds[axis] if known(axis) else axis
  compiled = jax.jit(
    step,
    in_shardings=tuple(map(sharding, in_axes)),
    out_shardings=tuple(map(sharding, out_axes))
    if isinstance(out_axes, tuple)
    else sharding(out_axes),
    donate_argnums=donate_argnums,
  )
  # Each process holds only its own part of a divided argument.
  place = partial(jax.make_array_from_process_local_data, kinds[0])
  over = lambda tree, axis: jax.tree.map(place, tree) if axis == 0 else tree

  def call(*args: Any) -> Any:
    return compiled(*map(over, args, in_axes))

  return call


def _compile_pmap(step, mesh, in_axes, out_axes, donate_argnums):
  devices = list(mesh.devices.flat)
  compiled = jax.pmap(
    partial(step, axis_name=AXIS),
    axis_name=AXIS,
    in_axes=tuple(in_axes),
    out_axes=out_axes,
    devices=devices,
    donate_argnums=donate_argnums,
  )
  local = sum(d.process_index == jax.process_index() for d in devices)
  divide = lambda x: x.reshape(local, -1, *x.shape[1:])
  join = lambda x: x.reshape(-1, *x.shape[2:])
  over = lambda fn, tree, axis: jax.tree.map(fn, tree) if axis == 0 else tree

  def call(*args: Any) -> Any:
    result = compiled(*map(partial(over, divide), args, in_axes))
    if isinstance(out_axes, tuple):
      return tuple(map(partial(over, join), result, out_axes))
    return over(join, result, out_axes)

  return call
