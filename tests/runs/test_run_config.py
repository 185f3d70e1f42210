"""config.json of a run: kept whole, compared field by field, with a history."""

import dataclasses
import json
import threading

import pytest
import tiny

from jaxdiff import config as c
from jaxdiff.runs import config_json
from jaxdiff.runs.config_json import (
  check_alike,
  check_continues,
  read_config,
  save_config,
)

CONFIG = tiny.changed(tiny.config, training={'num_steps': 60})


def replaced(**sections):
  """The configuration with fields of sections replaced, as JSON holds it."""
  changed = {
    name: dataclasses.replace(getattr(CONFIG, name), **fields)
    if isinstance(fields, dict)
    else fields
    for name, fields in sections.items()
  }
  return c.describe(dataclasses.replace(CONFIG, **changed), tiny.SPEC)


LATENTS = {'shape': (2, 2, 2), 'shift': [0.0] * 2, 'scale': [1.0] * 2}
LATENTS |= {'sha256': None}


@pytest.fixture
def run(tmp_path):
  """A workdir with a checkpoint of step 40, as far as its names tell."""
  (tmp_path / 'checkpoints' / '40').mkdir(parents=True)
  save_config(tmp_path, replaced())
  return tmp_path


def test_what_is_saved_is_read(tmp_path):
  save_config(tmp_path / 'run', {'seed': 1})
  save_config(tmp_path / 'run', replaced())
  assert [p.name for p in (tmp_path / 'run').iterdir()] == ['config.json']
  assert read_config(tmp_path / 'run') == (CONFIG, tiny.SPEC)
  with pytest.raises(TypeError):
    save_config(tmp_path / 'run', {'network': object()})
  assert read_config(tmp_path / 'run') == (CONFIG, tiny.SPEC)
  with pytest.raises(FileNotFoundError, match='holds no run'):
    read_config(tmp_path)


def test_every_change_is_kept_in_the_history(run):
  assert check_continues(run, replaced()) == []
  longer = replaced(training={'num_steps': 80}, workdir='elsewhere')
  first = check_continues(run, longer)
  old = CONFIG.training.num_steps
  assert first == [{'step': 40, 'changed': {'training.num_steps': [old, 80]}}]
  save_config(run, {**longer, 'history': first})
  (run / 'checkpoints' / '80').mkdir()
  again = replaced(training={'num_steps': 90}, sampling={'steps': 7})
  history = check_continues(run, again)
  assert history[0] == first[0] and history[1]['step'] == 80
  assert set(history[1]['changed']) == {'training.num_steps', 'sampling.steps'}


def test_a_run_is_not_made_shorter_than_it_is(run):
  check_continues(run, replaced(training={'num_steps': 40}))
  with pytest.raises(ValueError, match='40 steps already.* 40 or more, got 39'):
    check_continues(run, replaced(training={'num_steps': 39}))


def test_what_must_not_change_is_named_in_one_line(run):
  new = replaced(seed=5, optimizer={'b1': 0.5}, training={'num_steps': 80})
  with pytest.raises(ValueError) as raised:
    check_continues(run, new)
  message = str(raised.value)
  assert '\n' not in message and 'num_steps' not in message
  assert f'seed: checkpoint has {CONFIG.seed}, config has 5' in message
  assert 'optimizer.b1: checkpoint has 0.9, config has 0.5' in message
  (run / 'checkpoints' / '40').rmdir()  # nothing to continue
  assert check_continues(run, new) == []


@pytest.mark.parametrize(
  'harm',
  [
    lambda text: text[:-20],
    lambda text: '[1, 2]',
    lambda text: '[' * 100_000,
    lambda text: changed(text, 'spec', None),
    lambda text: changed(text, 'spec', {}),
    lambda text: changed(text, 'seed', 'one'),
    lambda text: changed(text, 'network', 3),
    lambda text: changed(text, 'network.channels', [1]),
    lambda text: changed(text, 'training.num_steps', None),
    lambda text: changed(text, 'spec.shape', [8, 'a', 1]),
    lambda text: changed(text, 'spec.shape', [8, 8]),
    lambda text: changed(text, 'spec.shape', {'edges': [1]}),
    lambda text: changed(text, 'spec.num_classes', 'x'),
    lambda text: changed(text, 'spec.categories', {}),
    lambda text: changed(text, 'spec.shape', [8, 0, 1]),
    lambda text: changed(text, 'spec.data', 3),
    lambda text: changed(text, 'spec.unknown', 3),
    lambda text: changed(text, 'spec.latents', LATENTS | {'scale': {'a': 1}}),
    lambda text: changed(text, 'spec.latents', LATENTS | {'scale': [1.0]}),
    lambda text: changed(text, 'history', 3),
    lambda text: changed(text, 'diffusion.kind', []),
    lambda text: changed(text, 'network.channels', 10**30),
  ],
)
def test_a_damaged_file_is_named(run, harm):
  path = run / 'config.json'
  path.write_text(harm(path.read_text()))
  with pytest.raises(ValueError) as raised:
    read_config(run)
  message = str(raised.value)
  assert str(path) in message and 'from a copy' in message
  assert '\n' not in message


def changed(text, name, value):
  """JSON with a field replaced."""
  config = json.loads(text)
  *sections, field = name.split('.')
  at = config
  for section in sections:
    at = at[section]
  at[field] = value
  return json.dumps(config)


def test_processes_started_unlike_are_told_the_fields(monkeypatch):
  """Process 1 runs beside process 0 here, and each waits for the other."""
  meeting, texts = threading.Barrier(2, timeout=20), {}
  settings = [
    replaced(data={'data_dir': '/a'}),
    replaced(seed=1, optimizer={'b1': 0.5}, data={'data_dir': '/b'}),
  ]

  def gather(text):
    meeting.wait()
    texts[threading.current_thread().name] = text
    meeting.wait()
    return [texts[name] for name in ('0', '1')]

  def message(i):
    try:
      check_alike(settings[i])
    except ValueError as error:
      found[i] = str(error)

  def run():
    threads = [
      threading.Thread(target=message, args=(i,), name=str(i)) for i in (0, 1)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()

  found = {}
  monkeypatch.setattr(config_json.parallel, 'gather_texts', gather)
  run()
  assert (
    found[0]
    == found[1]
    == (
      'all processes must be started alike: '
      'seed is 0 on process 0 and 1 on process 1; '
      'optimizer.b1 is 0.9 on process 0 and 0.5 on process 1'
    )
  )
  # Paths may differ, and the data that they lead to must not.
  found.clear()
  settings[1] = replaced(data={'data_dir': '/b'})
  run()
  assert not found
  settings[1]['spec']['data'] = {'sha256': 'other'}
  run()
  assert 'spec.data.sha256 is' in found[0]
  # Nor may what they run on.
  settings[:] = [replaced(), replaced()]
  here = config_json.environment()
  monkeypatch.setattr(
    config_json,
    'environment',
    lambda: here | {'jax': f'0.{threading.current_thread().name}'},
  )
  run()
  assert found[1].endswith(
    "environment.jax is '0.0' on process 0 and '0.1' on process 1"
  )
