"""The mesh, and what lies where on it."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = 'data'


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
  """Makes a mesh (data, fsdp) over all devices.

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
      f'--parallel.fsdp {fsdp} does not divide the {len(devices)} devices'
    )
  shape, names = (len(devices) // fsdp, fsdp), (AXIS, 'fsdp')
  # Explicit axes would ask every operation for its sharding.
  types = (AxisType.Auto,) * 2
  slices = {getattr(device, 'slice_index', 0) for device in devices}
  if len(slices) == 1:
    # In the order of the torus, where there is one.
    return jax.make_mesh(shape, names, types, devices=devices)
  # Several slices share the batch; parameters are divided within a slice.
  each = len(devices) // len(slices)
  if each % fsdp:
    raise ValueError(
      f'--parallel.fsdp {fsdp} does not divide the {each} devices of a slice'
    )
  array = mesh_utils.create_hybrid_device_mesh(
    (each // fsdp, fsdp), (len(slices), 1), devices
  )
  return Mesh(array, names, axis_types=types)


def local_mesh() -> Mesh:
  """Makes a mesh over this process's devices."""
  return make_mesh(devices=jax.local_devices())


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh, axis: int = 0) -> NamedSharding:
  """One dimension over all devices."""
  return NamedSharding(mesh, PartitionSpec(*[None] * axis, (AXIS, 'fsdp')))


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
  devices = jax.tree.leaves(sharding)[0].device_set
  cpu = next(iter(devices)).platform == 'cpu'
  options = {'xla_backend_optimization_level': 0} if cpu else {}
  lowered = jax.jit(init, out_shardings=sharding).lower(key)
  return lowered.compile(compiler_options=options)(key)


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
  """Returns the number of samples to draw at once, of `num`.

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
