"""Devices: all that names them. The processes, the mesh, a step on all."""

from jaxdiff.parallel.agreement import check_same
from jaxdiff.parallel.batches import join, local_range, over_batches
from jaxdiff.parallel.hosts import (
  any_process,
  gather,
  is_primary,
  joined,
  process,
  start,
)
from jaxdiff.parallel.mesh import (
  batch_size,
  check_batch_size,
  divided,
  initialise,
  local_mesh,
  make_mesh,
  placed,
  replicated,
  state_sharding,
)
from jaxdiff.parallel.steps import (
  compile_sample_step,
  compile_step,
  compile_train_step,
  jit_train_step,
)

__all__ = [
  'any_process',
  'batch_size',
  'check_batch_size',
  'check_same',
  'compile_sample_step',
  'compile_step',
  'compile_train_step',
  'divided',
  'gather',
  'initialise',
  'is_primary',
  'join',
  'jit_train_step',
  'joined',
  'local_mesh',
  'local_range',
  'make_mesh',
  'over_batches',
  'placed',
  'process',
  'replicated',
  'start',
  'state_sharding',
]
