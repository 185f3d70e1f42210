"""Devices: all that names them. The processes, the mesh, a step on all."""

from jaxdiff.parallel.chips import peak_flops
from jaxdiff.parallel.hosts import (
  advise,
  alone,
  any_process,
  fail,
  from_first,
  gather,
  gather_texts,
  host_copy,
  is_primary,
  joined,
  leave,
  process,
  start,
  stopping,
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
)
from jaxdiff.parallel.rules import state_sharding
from jaxdiff.parallel.steps import (
  compile_sample_step,
  compile_step,
  compile_train_step,
  jit_sample_step,
  jit_train_step,
)

__all__ = [
  'advise',
  'alone',
  'any_process',
  'batch_size',
  'check_batch_size',
  'compile_sample_step',
  'compile_step',
  'compile_train_step',
  'divided',
  'fail',
  'from_first',
  'gather',
  'gather_texts',
  'host_copy',
  'initialise',
  'is_primary',
  'jit_sample_step',
  'jit_train_step',
  'joined',
  'leave',
  'local_mesh',
  'make_mesh',
  'peak_flops',
  'placed',
  'process',
  'replicated',
  'start',
  'state_sharding',
  'stopping',
]
