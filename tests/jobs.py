"""train.py as a job of several processes of this machine."""

import json
import os
import socket
import subprocess
import sys

from digits_run import FLAGS, ROOT

# Every step is logged; checkpoints of 4, 8, ...
EACH = (
  *('--training.log-every', '1', '--training.batch-size', '16'),
  *('--optimizer.schedule', 'constant'),
)


class Job:
  """Processes of train.py that share a workdir, each with some devices."""

  def __init__(self, workdir, num, devices, *flags, launcher=None, limits=None):
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      address = f'127.0.0.1:{free.getsockname()[1]}'
    of = lambda i: (
      ['--parallel.num-processes', f'{num}']
      + [*('--parallel.process-id', f'{i}', '--parallel.coordinator', address)]
    )
    slurm = lambda i: {
      'SLURM_JOB_ID': f'{os.getpid()}',
      'SLURM_STEP_NODELIST': 'localhost',
      'SLURM_STEP_NUM_NODES': '1',
      'SLURM_NTASKS': f'{num}',
      'SLURM_PROCID': f'{i}',
      'SLURM_LOCALID': f'{i}',
    }
    kubernetes = lambda i: {
      'TPU_WORKER_ID': f'{i}',
      'TPU_WORKER_HOSTNAMES': ','.join(['localhost'] * num),
    }
    found = {'slurm': slurm, 'kubernetes': kubernetes}.get(launcher)
    if launcher:
      of = lambda i: ['--parallel.coordinator', 'auto']
    force = f'--xla_force_host_platform_device_count={devices}'
    environment = {
      **os.environ,
      'XLA_FLAGS': f'{force} --xla_backend_optimization_level=0',
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'NPROC': '16',  # threads of XLA's collectives, on few cores
    }
    self.processes = [
      subprocess.Popen(
        [sys.executable, 'train.py', '--workdir', workdir, *FLAGS, *EACH]
        + of(i) * (num > 1)
        + [*flags],
        cwd=ROOT,
        env={**environment, **(found(i) if found else {})},
        preexec_fn=(limits or {}).get(i),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      for i in range(num)
    ]

  def end(self, code=0, timeout=280):
    """Returns what each process has printed, and the last line of each."""
    try:
      said = [p.communicate(timeout=timeout) for p in self.processes]
    finally:
      for process in self.processes:
        process.kill()
    codes = [p.returncode for p in self.processes]
    assert codes == [code] * len(codes), [err[-2000:] for _, err in said]
    self.errors = [err for _, err in said]
    last = [(err.strip().splitlines() or [''])[-1] for err in self.errors]
    return [out for out, _ in said], last


def losses(workdir):
  rows = [json.loads(x) for x in (workdir / 'metrics.jsonl').open()]
  return {row['step']: row['loss'] for row in rows}
