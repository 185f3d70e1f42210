"""One step, compiled for all devices either way.

A step is written once. Each of its arguments and results is either the same
on every device (axis None) or divided over them along one of its dimensions
(axis 0, 1). `compile_step` runs it under `jit` with arrays sharded over a
mesh, or under `pmap` with one copy of the step for each device.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from jaxdiff.parallel import cpu
from jaxdiff.parallel.mesh import AXIS, divided, replicated

_STACKED = "'blocks"  # of the names that `networks.blocks.stacked` is given
Axis = Any  # None | int | a tree of NamedSharding


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
    in_axes: for each argument None, the dimension over which it is divided, or
      (jit only) a tree of shardings. A divided argument is passed as this
      process's part of it, numpy arrays.
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
  step: Callable[..., Any],
  mesh: Mesh,
  sharding: Any,
  *,
  mode: str = 'jit',
  num_steps: int = 1,
  frozen: Any = None,
) -> Callable[..., Any]:
  """(state, batch) -> (state, metrics), compiled; the state is donated.

  On an accelerator calls may run ahead of what is computed; on a CPU each
  waits until the state it is given is there (`cpu.one_at_a_time`).

  Args:
    step: from `training.make_train_step`.
    mesh: from `make_mesh`.
    sharding: of the state, from `state_sharding`.
    mode: 'jit' or 'pmap'.
    num_steps: n, how many make one program. From 2 on it takes n batches,
      [n, B, ...], and metrics are [n].
    frozen: parameters that the step takes and that are not trained.
  """

  def steps(
    state: Any, batches: Any, *given: Any, axis_name: str | None = None
  ) -> Any:
    one = lambda state, batch: step(state, batch, *given, axis_name=axis_name)
    return jax.lax.scan(one, state, batches)

  if mode == 'jit':
    step = _gathering(step, mesh)
  state, several = sharding if mode == 'jit' else None, num_steps > 1
  given = () if frozen is None else (jax.device_put(frozen, replicated(mesh)),)
  compiled = compile_step(
    steps if several else step,
    mesh,
    mode=mode,
    in_axes=(state, int(several), *[None for _ in given]),
    out_axes=(state, None),
    donate_argnums=(0,),
  )
  call = lambda state, batch: compiled(state, batch, *given)
  on_cpu = mesh.devices.flat[0].platform == 'cpu'
  return cpu.one_at_a_time(call) if on_cpu else call


def compile_sample_step(
  draw: Callable[..., Any], mesh: Mesh, *, mode: str = 'jit'
) -> Callable[..., Any]:
  """(params, options, index[B]) -> [B, ...], compiled; B over all devices."""
  return compile_step(
    draw, mesh, mode=mode, in_axes=(None, None, 0), out_axes=0
  )


def jit_sample_step(draw: Callable[..., Any], mesh: Mesh) -> jax.stages.Wrapped:
  """Jits the step of `compile_sample_step`, to be lowered for any mesh."""
  return _jit(draw, mesh, (None, None, 0), 0, ())


def jit_train_step(
  step: Callable[..., Any], mesh: Mesh, sharding: Any, frozen: Any = None
) -> jax.stages.Wrapped:
  """Jits the step of `compile_train_step`, to be lowered for any mesh.

  Args:
    step: from `training.make_train_step`.
    mesh: of devices that need not be there.
    sharding: of the state, from `state_sharding`.
    frozen: as in `compile_train_step`; then the step's third argument.
  """
  given = () if frozen is None else (None,)
  step = _gathering(step, mesh)
  return _jit(step, mesh, (sharding, 0, *given), (sharding, None), (0,))


def _gathering(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """The step with its divided parameters gathered before they are used.

  XLA would divide the products as the parameters are, and move the examples of
  all devices to each of them, layer by layer. Stacked blocks gather their own,
  one block at a time.
  """
  if mesh.shape['fsdp'] == 1:
    return step

  def gather(path: Any, x: Any) -> Any:
    if _STACKED in jax.tree_util.keystr(path):
      return x
    return jax.lax.with_sharding_constraint(x, replicated(mesh))

  def gathered(state: Any, *args: Any, **named: Any) -> Any:
    whole = jax.tree_util.tree_map_with_path(gather, state.params)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return step(state._replace(params=whole), *args, **named)

  return gathered


def _jit(step, mesh, in_axes, out_axes, donate_argnums):
  def sharding(axis: Any) -> Any:
    if axis is None:
      return replicated(mesh)
    return divided(mesh, axis) if isinstance(axis, int) else axis

  return jax.jit(
    step,
    in_shardings=tuple(map(sharding, in_axes)),
    out_shardings=tuple(map(sharding, out_axes))
    if isinstance(out_axes, tuple)
    else sharding(out_axes),
    donate_argnums=donate_argnums,
  )


def _compile_jit(step, mesh, in_axes, out_axes, donate_argnums):
  compiled = _jit(step, mesh, in_axes, out_axes, donate_argnums)

  # Each process holds only its own part of a divided argument.
  def place(tree: Any, axis: Any) -> Any:
    if not isinstance(axis, int):
      return tree
    part = partial(jax.make_array_from_process_local_data, divided(mesh, axis))
    return jax.tree.map(part, tree)

  def call(*args: Any) -> Any:
    return compiled(*map(place, args, in_axes))

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

  def divide(tree: Any, axis: Axis) -> Any:
    if axis is None:
      return tree
    cut = lambda s: (*s[:axis], local, -1, *s[axis + 1 :])
    return jax.tree.map(lambda x: x.reshape(cut(x.shape)), tree)

  def join(tree: Any, axis: Axis) -> Any:
    if axis is None:
      return tree
    whole = lambda s: (*s[:axis], -1, *s[axis + 2 :])
    return jax.tree.map(lambda x: x.reshape(whole(x.shape)), tree)

  def call(*args: Any) -> Any:
    result = compiled(*map(divide, args, in_axes))
    if isinstance(out_axes, tuple):
      return tuple(map(join, result, out_axes))
    return join(result, out_axes)

  return call
