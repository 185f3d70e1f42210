"""Checkpoints and processes: killed ones, and several at once."""

import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from states import abstract, assert_same, make_state

from jaxdiff.runs import Checkpoints

RUN = """
import sys
from jaxdiff.runs import Checkpoints
from states import abstract, make_state

size = 300_000
with Checkpoints(sys.argv[1], max_to_keep=2) as checkpoints:
  restored = checkpoints.restore(abstract(make_state(0, size)))
  step = 0 if restored is None else restored[0]
  while True:
    step += 1
    checkpoints.save(step, make_state(step, size))
    print(step, flush=True)
"""


def start(script, *args, **environment):
  root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
  path = os.pathsep.join([root, os.path.join(root, 'tests')])
  return subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(script), *map(str, args)],
    env=os.environ | {'PYTHONPATH': path, 'XLA_FLAGS': ''} | environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def ends(processes):
  """Output and errors of each process; after 100 s all are killed."""
  late = threading.Timer(100, lambda: [p.kill() for p in processes])
  late.start()
  try:
    return [process.communicate() for process in processes]
  finally:
    late.cancel()
    for process in processes:
      process.kill()


@pytest.mark.parametrize('kills', [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_leaves_whole_checkpoints(tmp_path, kills):
  like = abstract(make_state(0, 300_000))
  finished, half_written = 0, 0
  for _ in range(kills):
    process = start(RUN, tmp_path)
    first = process.stdout.readline()
    time.sleep(random.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    output, errors = process.communicate()
    assert first, errors
    # While step n is being written, n - 1 is already on the disk.
    finished = max(finished, int((first + output).split()[-1]) - 1)
    with Checkpoints(tmp_path) as checkpoints:
      with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        restored = checkpoints.restore(like)
      assert all('half-written' in str(w.message) for w in caught)
      half_written += len(caught)
    step = 0 if restored is None else restored[0]
    assert step >= finished
    if step:
      assert_same(restored[1], make_state(step, 300_000))
    finished = step
  print(f'{kills} kills, {half_written} during a save, at step {finished}')


JOB = """
import os, signal, sys, threading, time
import jax
import orbax.checkpoint as ocp
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 2)
from jaxdiff import parallel
process = int(sys.argv[4])
parallel.start(f'127.0.0.1:{sys.argv[3]}', 2, process, 60, stops=True)
from jaxdiff.runs import Checkpoints
from jaxdiff.runs.config_json import check_alike
from runs.test_checkpoint_processes import abstract_on, assert_shards, sharded

devices = jax.devices()
assert len(devices) == 4 and len(jax.local_devices()) == 2
with Checkpoints(sys.argv[1]) as checkpoints:
  step, found = checkpoints.restore(abstract_on(devices))
  assert step == 1, step
  assert_shards(found, 1)

  # The save returns when the state is copied. What follows needs no order.
  begin, returned = ocp.AsyncCheckpointer.save, threading.Event()
  def late(*args, **kwargs):
    assert returned.wait(40), 'the save did not return'
    return begin(*args, **kwargs)
  ocp.AsyncCheckpointer.save = late
  state = sharded(2, devices)
  checkpoints.save(2, state)
  jax.tree.map(lambda x: x.delete(), state)
  if process:
    returned.set()
  for n in range(5):
    assert parallel.from_first(n) == n
  # By now process 0 has set the damaged one aside, and not begun to save.
  steps = checkpoints.steps()
  parallel.from_first(0)
  returned.set()
  assert steps == [1], steps
  step, found = checkpoints.restore(abstract_on(devices))
  assert step == 2, step
  assert_shards(found, 2)
with Checkpoints(sys.argv[2]) as checkpoints:
  assert checkpoints.restore(abstract_on(devices)) is None

# SIGTERM to one stops all at the same step.
step = 0
while not parallel.stopping(step, False):
  step += 1
  if process == 1 and step == 5:
    os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(0.01 * (1 + process))
assert step >= 5
check_alike({'step': step, 'parallel': {'process_id': process}})
try:
  check_alike({'seed': process, 'same': [1, (2,)]})
except ValueError as error:
  print(error)
parallel.leave()
print('done')
"""


def abstract_on(devices):
  """The kernels divided over the devices, all the rest on each of them."""
  mesh = jax.sharding.Mesh(devices, 'fsdp', axis_types=(AxisType.Auto,))

  def placed(leaf):
    spec = (None, 'fsdp') if leaf.ndim == 2 else ()
    sharding = NamedSharding(mesh, PartitionSpec(*spec))
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

  return jax.tree.map(placed, abstract())


def sharded(step, devices):
  def place(x, like):
    if x.dtype == like.dtype == jax.random.key(0).dtype:
      data = place(jax.random.key_data(x), like.update(dtype=jnp.uint32))
      return jax.random.wrap_key_data(data)
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, like.sharding, x.__getitem__)

  return jax.tree.map(place, make_state(step), abstract_on(devices))


def assert_shards(found, step):
  """Each shard that this process holds is its part of the whole."""
  whole = make_state(step)
  assert found.key.dtype == whole.key.dtype
  found = found._replace(key=jax.random.key_data(found.key))
  whole = whole._replace(key=jax.random.key_data(whole.key))
  for x, expected in zip(
    jax.tree.leaves(found), jax.tree.leaves(whole), strict=True
  ):
    for shard in x.addressable_shards:
      part = np.asarray(expected[shard.index])
      assert np.asarray(shard.data).tobytes() == part.tobytes()


@pytest.mark.timeout(120)
def test_processes_and_devices_may_change(tmp_path):
  """One process on 4 devices, then 2 on 2 each, then the one again."""
  devices = jax.devices()[:4]
  run, nothing = tmp_path / 'run', tmp_path / 'nothing'
  with Checkpoints(run) as checkpoints:
    checkpoints.save(1, sharded(1, devices))
    checkpoints.save(2, sharded(3, devices))
  # Process 0 notices, and both use step 1.
  (run / 'checkpoints' / '2' / '_METADATA').unlink()

  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  processes = [start(JOB, run, nothing, port, i) for i in range(2)]
  results = ends(processes)
  errors = [error for _, error in results]
  for output, _ in results:
    said = 'seed is 0 on process 0 and 1 on process 1\ndone\n'
    assert output.endswith(said), '\n'.join(errors)
  for error in errors:
    assert ('damaged checkpoint' in error) == (error is errors[0])

  with Checkpoints(run) as checkpoints:
    for options in ({}, {'step': 1}):
      step, found = checkpoints.restore(abstract_on(devices), **options)
      assert step == options.get('step', 2)
      assert_shards(found, step)
      kernel = found.params['dense']['kernel']
      assert len(kernel.sharding.device_set) == 4
      assert not kernel.is_fully_replicated
    assert_same(checkpoints.restore(abstract())[1], make_state(2))


WRITER = """
import sys, time
from jaxdiff.runs import Checkpoints
from states import make_state

with Checkpoints(sys.argv[1], max_to_keep=1) as checkpoints:
  step = 0
  while True:
    step += 1
    begun = time.monotonic()
    checkpoints.save(step, make_state(step, 100_000))
    checkpoints.wait()
    print(step, flush=True)
    # Nobody could ever read one, were the machine too busy for the pause.
    time.sleep(max(0.3, 3 * (time.monotonic() - begun)))
"""

READER = """
import sys, warnings
import jax
jax.config.update('jax_platforms', 'cpu')
from jaxdiff import parallel
parallel.start(f'127.0.0.1:{sys.argv[2]}', 2, int(sys.argv[3]), 60)
from jaxdiff.runs import Checkpoints
from jax.sharding import NamedSharding, PartitionSpec
from states import abstract, make_state

warnings.simplefilter('ignore')
where = NamedSharding(parallel.make_mesh(), PartitionSpec())
like = jax.tree.map(
  lambda x: x.update(sharding=where), abstract(make_state(0, 100_000))
)
found = []
with Checkpoints(sys.argv[1]) as checkpoints:
  while len(found) < 12 or len(set(found)) < 2:  # the writer may be slower
    step, state = checkpoints.restore(like)
    assert int(state.step) == step and step == parallel.from_first(step)
    found.append(step)
parallel.leave()
print('all read')
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_job_may_read_what_another_writes(tmp_path):
  """Two processes; the only checkpoint goes whenever the next is there."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  writer = start(WRITER, tmp_path)
  for _ in range(2):
    assert writer.stdout.readline()
  try:
    readers = [start(READER, tmp_path, port, i) for i in range(2)]
    for output, errors in ends(readers):
      assert output.endswith('all read\n'), errors
  finally:
    writer.kill()


def test_orbax_is_imported_only_when_needed():
  script = """
  import sys
  from jaxdiff.runs import Checkpoints
  print(Checkpoints(sys.argv[1]).steps(), 'orbax.checkpoint' in sys.modules)
  """
  output, errors = start(script, 'nowhere').communicate(timeout=60)
  assert output == '[] False\n', errors
