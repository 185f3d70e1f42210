"""config.json of a run: what it may continue with, and who may write there."""

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxdiff import files, parallel
from jaxdiff.config import FIXED, Config, Processes, Spec, describe, undescribe
from jaxdiff.runs.store import Checkpoints

# Paths of data. `runs.examples` compares the data themselves.
PATHS = (
  *('data.data_dir', 'data.tokenizer', 'condition.clip', 'condition.t5'),
  'latent.cache',
)
# Settings that may differ between the processes of a job.
_OWN = ('config', 'parallel.process_id', 'running.process_id')
_ABSENT = 'no such field'


def read_config(workdir: str | Path) -> tuple[Config, Spec]:
  """Reads config.json, written by this version or an older one.

  Raises:
    FileNotFoundError: no run there.
    ValueError: the file is damaged.
  """
  saved = load_config(workdir)
  try:
    return undescribe(saved)
  except ValueError as error:
    raise ValueError(
      f'{workdir}/config.json is damaged or of another version, '
      f'bring it back from a copy: {error}'
    ) from error


def check_continues(
  workdir: str | Path, described: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """Checks that a run may continue with a configuration.

  Args:
    workdir: of the run; one without a checkpoint may change in everything.
    described: the configuration, from `config.describe`.

  Returns:
    The history of the run: for each change {'step': the newest checkpoint,
    'changed': {field: [old, new]}}.

  Raises:
    ValueError: fields have changed that must not, or the run is longer; the
      message names them.
  """
  steps = Checkpoints(workdir).steps()
  if not steps:
    return []
  history = list(load_config(workdir).get('history', []))
  # As it is read today: a field that did not exist had today's default.
  before = describe(*read_config(workdir))
  compared = differences(before, described)
  fixed = [
    f'{name}: checkpoint has {old!r}, config has {new!r}'
    for name, (old, new) in compared.items()
    if name.partition('.')[0] in FIXED and not name.startswith('spec.data')
  ]
  if fixed:
    raise ValueError(
      'the checkpoints were made with another configuration: '
      + '; '.join(fixed)
    )
  total = described['training']['num_steps']
  if steps[-1] > total:
    raise ValueError(
      f'{workdir} has {steps[-1]} steps already: --training.num-steps must be '
      f'{steps[-1]} or more, got {total}'
    )
  # The history says where the data went, too.
  unsaid = ('config', 'workdir', 'parallel', 'spec')
  changed = {
    name: list(values)
    for name, values in differences(before, described, paths=True).items()
    if name.partition('.')[0] not in unsaid
  }
  if changed:
    history.append({'step': steps[-1], 'changed': changed})
  return history


def first_start(workdir: str | os.PathLike[str]) -> float:
  """Returns when a run was started first, in seconds since 1970; else now."""
  try:
    return float(load_config(workdir)['started'])
  except (FileNotFoundError, ValueError, TypeError, KeyError):
    return time.time()


def differences(
  before: Mapping[str, Any], after: Mapping[str, Any], paths: bool = False
) -> dict[str, tuple[Any, Any]]:
  """Returns {field: (old, new)} of the fields that differ."""
  old, new = _fields(before, paths), _fields(after, paths)
  return {
    name: (old.get(name, _ABSENT), new.get(name, _ABSENT))
    for name in old | new
    if old.get(name, _ABSENT) != new.get(name, _ABSENT)
  }


def _fields(settings: Mapping[str, Any], paths: bool = False) -> dict[str, Any]:
  """Returns {'network.channels': 64, ...} of every leaf.

  Paths of data are left out unless they are asked for.
  """

  def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
      for key, below in value.items():
        yield from leaves(below, f'{name}.{key}' if name else key)
    else:
      yield name, value

  # Through JSON, so that a tuple equals its list.
  fields = dict(leaves(json.loads(json.dumps(settings)), ''))
  if paths:
    return fields
  from jaxdiff.data.sets import FILES  # imports grain and Orbax, two seconds

  kind = str(fields.get('data.name')).partition(':')[0]
  if kind in FILES:
    fields['data.name'] = kind
  return {name: x for name, x in fields.items() if name not in PATHS}


def start(
  c: Processes, settings: Mapping[str, Any], *, stops: bool = False
) -> None:
  """Joins the other processes of a job, if they were started alike.

  Args:
    c: how to find them.
    settings: of this process, see `check_alike`.
    stops: as in `parallel.start`.
  """
  parallel.start(
    c.coordinator, c.num_processes, c.process_id, c.timeout, stops=stops
  )
  check_alike(settings)


def check_alike(settings: Mapping[str, Any]) -> None:
  """Checks that all processes of a job were started alike; all must ask.

  Args:
    settings: of this process, nested mappings of what JSON can hold.

  Raises:
    ValueError: on every process, if any differs; names the fields.
  """
  mine = _fields({**settings, 'environment': environment()})
  mine = {k: x for k, x in mine.items() if k not in _OWN}
  if len(set(parallel.gather_texts(files.json_hash(mine)))) == 1:
    return
  first, *others = map(json.loads, parallel.gather_texts(json.dumps(mine)))
  differ = [
    f'{name} is {here!r} on process 0 and {there!r} on process {i}'
    for i, other in enumerate(others, 1)
    for name, (here, there) in differences(first, other).items()
  ]
  raise ValueError(f'all processes must be started alike: {"; ".join(differ)}')


def environment() -> dict[str, Any]:
  """Returns what a process is given that changes its numbers."""
  return {
    'python': platform.python_version_tuple()[:2],
    'jax': jax.__version__,
    'jax_enable_x64': jax.config.jax_enable_x64,
    'jax_default_matmul_precision': jax.config.jax_default_matmul_precision,
  }


def save_config(
  workdir: str | os.PathLike[str], config: Mapping[str, Any]
) -> None:
  """Writes `workdir/config.json`, whole or not at all.

  Args:
    workdir: made if it does not exist.
    config: nested mappings of what JSON can hold; tuples become lists.
  """
  files.write_json(files.as_path(workdir) / 'config.json', config)


def load_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Reads what `save_config` wrote.

  Raises:
    FileNotFoundError: if there is none, so `workdir` is not that of a run.
    ValueError: if it is damaged.
  """
  path = files.as_path(workdir) / 'config.json'
  if not path.exists():
    raise FileNotFoundError(f'{path} does not exist: {workdir} holds no run')
  config = files.read_json(path, 'the configuration')
  if not isinstance(config, dict):
    raise ValueError(
      f'{path} is damaged, bring it back from a copy: it is not an object'
    )
  return config


@contextlib.contextmanager
def only_writer(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Holds the workdir for this process; a killed one lets it go.

  Raises:
    BlockingIOError: another process holds it.
  """
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(files.locked(files.as_path(workdir) / '.lock'))
    except BlockingIOError:
      raise BlockingIOError(
        f'another run is writing to {workdir}: wait for it, or use another '
        'workdir'
      ) from None
    yield
