"""Launchers of jobs: what their variables tell a process of the others.

jax reads the same variables. But it ends a process with a trace where another
one never comes, and does not say which. `Peers` does, if it is told where
process 0 is, how many there are and which one this is.
"""

import re
from collections.abc import Mapping

Place = tuple[str, int, int]  # host:port of process 0, how many, which one

_TPU_PORT = 8482  # jax's for TPUs


def place(environ: Mapping[str, str]) -> Place | None:
  """Finds host:port of process 0, the number of processes and this one's index.

  Args:
    environ: the variables of the process.

  Returns:
    None where neither Slurm nor Kubernetes with TPUs has started it.

  Raises:
    ValueError: a variable that should be a number is none.
  """
  return slurm(environ) or kubernetes_tpu(environ)


def slurm(environ: Mapping[str, str]) -> Place | None:
  """Reads a task of a Slurm step; the port depends on the job, as in jax."""
  names = 'JOB_ID', 'STEP_NODELIST', 'NTASKS', 'PROCID', 'LOCALID'
  if not all(f'SLURM_{name}' in environ for name in names):
    return None
  job, nodes, num, index, _ = (environ[f'SLURM_{name}'] for name in names)
  # The first of node1,node2 or of node[01-04,07].
  first = re.match(r'([^,[]+)(?:\[(\w+))?', nodes)
  host = ''.join(filter(None, first.groups()))
  return f'{host}:{61440 + int(job) % 4096}', int(num), int(index)


def kubernetes_tpu(environ: Mapping[str, str]) -> Place | None:
  """Reads a pod of a TPU slice, or of several slices, on GKE.

  Processes are numbered slice by slice. Those of several slices meet at the
  first host of the first one.
  """
  hosts = environ.get('TPU_WORKER_HOSTNAMES', '').split(',')
  if 'TPU_WORKER_ID' not in environ:
    return None
  first = environ.get('MEGASCALE_COORDINATOR_ADDRESS') or hosts[0]
  slices = int(environ.get('MEGASCALE_NUM_SLICES') or 1)
  index = int(environ.get('MEGASCALE_SLICE_ID') or 0) * len(hosts)
  num = slices * len(hosts)
  if num == 1:
    return None
  host = first.partition(':')[0]
  return f'{host}:{_TPU_PORT}', num, index + int(environ['TPU_WORKER_ID'])
