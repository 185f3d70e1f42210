"""A run on disk: the model that a workdir holds."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdiff import files, models, parallel
from jaxdiff.config import FIXED, Config, Processes, Spec, describe, undescribe
from jaxdiff.data.sets import FILES
from jaxdiff.models import Model
from jaxdiff.runs.store import Checkpoints

PATHS = (('data', 'data_dir'), ('data', 'tokenizer'), ('condition', 'clip'))
_ABSENT = 'no such field'


class Run(NamedTuple):
  """The configuration, the model and the weights of a workdir."""

  workdir: Path
  config: Config
  spec: Spec
  model: Model
  step: int
  params: Any

  @property
  def small_shape(self) -> tuple[int, ...]:
    """The shape of the images that the model enlarges."""
    size = self.config.condition.low_res
    return (size, size, self.spec.shape[-1])


def read_config(workdir: str | Path) -> tuple[Config, Spec]:
  """Reads config.json, written by this version or an older one.

  Raises:
    FileNotFoundError: no run there.
    ValueError: the file is damaged.
  """
  saved = load_config(workdir)
  try:
    return undescribe(saved)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f'{Path(workdir) / "config.json"} is damaged or of another version: '
      f'{error}'
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
    ValueError: a field has changed that must not.
  """
  steps = Checkpoints(workdir).steps()
  if not steps:
    return []
  saved = load_config(workdir)
  history = list(saved.get('history', []))
  # As it is read today: a field that did not exist had today's default.
  before = describe(*read_config(workdir))
  check_config(_without_paths(before), _without_paths(described), FIXED)
  changed = {
    name: [old, new]
    for section in before
    if section not in ('config', 'workdir', 'parallel', 'spec')
    for name, old, new in differences(section, before, described)
  }
  if changed:
    history.append({'step': steps[-1], 'changed': changed})
  return history


def _without_paths(described: Mapping[str, Any]) -> dict[str, Any]:
  """Leaves out where data are, since `runs.examples` compares the data."""
  settings = json.loads(json.dumps(described))
  for section, field in PATHS:
    settings[section].pop(field, None)
  kind = settings['data']['name'].partition(':')[0]
  if kind in FILES:
    settings['data']['name'] = kind
  settings['spec'].pop('data')
  return settings


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
  own = ('coordinator', 'process_id')  # what a process may have for itself
  fields = [
    f
    for name, x in settings.items()
    if name != 'config'
    for f in _fields(name, x)
  ]
  mine = {name: x for name, x in fields if name.rpartition('.')[2] not in own}
  text = json.dumps(mine, sort_keys=True)
  if len(set(parallel.gather_texts(files.json_hash(mine)))) == 1:
    return
  first, *others = map(json.loads, parallel.gather_texts(text))
  differ = [
    f'{name} is {first.get(name)!r} on process 0 and {other.get(name)!r} on '
    f'process {i}'
    for i, other in enumerate(others, 1)
    for name in sorted(first | other)
    if first.get(name) != other.get(name)
  ]
  raise ValueError(f'all processes must be started alike: {"; ".join(differ)}')


def load(
  workdir: str | Path,
  mesh: Mesh,
  *,
  checkpoint: int | None = None,
  ema: bool = True,
) -> Run:
  """Loads a trained model; only the weights asked for are read.

  Args:
    workdir: of train.py.
    mesh: from `parallel.make_mesh`; the weights go to each of its devices.
    checkpoint: the step; None for the newest good one.
    ema: the averaged weights.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    ValueError: config.json is damaged.
    DamagedCheckpointError: no checkpoint can be trusted.
  """
  config, spec = read_config(workdir)
  model = models.make(config, spec)
  name = 'ema_params' if ema else 'params'
  abstract = {name: jax.eval_shape(model.init, jax.random.key(0))}
  sharding = parallel.state_sharding(abstract, mesh)
  restored = Checkpoints(workdir).restore(
    parallel.placed(abstract, sharding), checkpoint, partial=True
  )
  if restored is None:
    raise FileNotFoundError(f'{workdir} holds no checkpoint yet: train first')
  step, state = restored
  return Run(Path(workdir), config, spec, model, step, state[name])


def save_config(
  workdir: str | os.PathLike[str], config: Mapping[str, Any]
) -> None:
  """Writes `workdir/config.json`, whole or not at all.

  Args:
    workdir: made if it does not exist.
    config: nested mappings of what JSON can hold; tuples become lists.
  """
  files.write_json(Path(workdir) / 'config.json', config)


def load_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Reads what `save_config` wrote.

  Raises:
    FileNotFoundError: if there is none, so `workdir` is not that of a run.
    ValueError: if it is damaged.
  """
  path = Path(workdir) / 'config.json'
  if not path.exists():
    raise FileNotFoundError(f'{path} does not exist: {workdir} holds no run')
  config = files.read_json(path, 'the configuration')
  if not isinstance(config, dict):
    raise ValueError(f'{path} is damaged: expected an object, got {config!r}')
  return config


def check_config(
  saved: Mapping[str, Any], new: Mapping[str, Any], sections: Sequence[str]
) -> None:
  """Refuses to go on from a checkpoint with a configuration it was not made of.

  Args:
    saved: the configuration beside the checkpoints.
    new: the one asked for now.
    sections: top-level fields in which the two must agree.

  Raises:
    ValueError: naming each differing field, or a section neither of them has.
  """
  # Through JSON, as `saved` went, so that a tuple equals its list.
  new = json.loads(json.dumps(new))
  differing = []
  for section in sections:
    if section not in saved and section not in new:
      raise ValueError(f'no section {section!r} among {sorted(new)}')
    differing += [
      f'{name}: checkpoint has {_shown(old)}, config has {_shown(now)}'
      for name, old, now in differences(section, saved, new)
    ]
  if differing:
    raise ValueError(
      'the checkpoints were made with another configuration: '
      + '; '.join(differing)
    )


def differences(
  section: str, saved: Mapping[str, Any], new: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
  """Lists (field, old, new) of the differing fields of a section."""
  old_fields, new_fields = (
    dict(_fields(section, config[section])) if section in config else {}
    for config in (saved, new)
  )
  return [
    (name, old_fields.get(name, _ABSENT), new_fields.get(name, _ABSENT))
    for name in old_fields | new_fields
    if old_fields.get(name, _ABSENT) != new_fields.get(name, _ABSENT)
  ]


def _shown(value: Any) -> str:
  return value if value is _ABSENT else repr(value)


def _fields(name: str, value: Any) -> Iterator[tuple[str, Any]]:
  """`network.channels`, 64 and so on for every leaf below `name`."""
  if isinstance(value, Mapping) and value:
    for key, below in value.items():
      yield from _fields(f'{name}.{key}', below)
  else:
    yield name, value


@contextlib.contextmanager
def only_writer(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Holds the workdir for this process; a killed one lets it go.

  Raises:
    BlockingIOError: another process holds it.
  """
  path = Path(workdir) / '.lock'
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise BlockingIOError(
        f'another run is writing to {workdir}: wait for it, or use another '
        'workdir'
      ) from None
    yield


def digest(params: Any) -> str:
  """Computes the SHA-256 of weights: their names, shapes and values."""
  sha256 = hashlib.sha256()
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path)
    array = np.ascontiguousarray(jax.device_get(x))
    sha256.update(f'{name} {array.dtype} {array.shape}'.encode())
    sha256.update(array.tobytes())
  return sha256.hexdigest()
