"""Slurm and Kubernetes: where process 0 is, by their variables."""

import pytest

from jaxdiff.parallel import launchers


@pytest.mark.parametrize(
  ('nodes', 'host'),
  [
    ('localhost', 'localhost'),
    ('a1,b2', 'a1'),
    ('gpu-[007-015,021],other', 'gpu-007'),
    ('n[3,5]', 'n3'),
  ],
)
def test_a_task_of_slurm_knows_where_process_0_is(nodes, host):
  environ = {
    'SLURM_JOB_ID': '4099',
    'SLURM_STEP_NODELIST': nodes,
    'SLURM_NTASKS': '8',
    'SLURM_PROCID': '3',
    'SLURM_LOCALID': '1',
  }
  assert launchers.place(environ) == (f'{host}:61443', 8, 3)
  del environ['SLURM_PROCID']
  assert launchers.place(environ) is None


@pytest.mark.parametrize(
  ('more', 'expected'),
  [
    ({}, ('a-0.svc:8482', 3, 1)),
    # The second of two slices; its own hosts are b-0, b-1 and b-2.
    (
      {
        'TPU_WORKER_HOSTNAMES': 'b-0.svc,b-1.svc,b-2.svc',
        'MEGASCALE_COORDINATOR_ADDRESS': 'a-0.svc:8080',
        'MEGASCALE_NUM_SLICES': '2',
        'MEGASCALE_SLICE_ID': '1',
      },
      ('a-0.svc:8482', 6, 4),
    ),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, None),  # one host: no job
  ],
)
def test_a_pod_of_a_slice_knows_where_process_0_is(more, expected):
  environ = {
    'TPU_WORKER_ID': '1' if expected else '0',
    'TPU_WORKER_HOSTNAMES': 'a-0.svc,a-1.svc,a-2.svc',
    **more,
  }
  assert launchers.place(environ) == expected
  del environ['TPU_WORKER_ID']
  assert launchers.place(environ) is None
