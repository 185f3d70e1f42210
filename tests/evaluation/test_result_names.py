"""Names of results: with every flag that is not the default."""

import numpy as np
import pytest
from measured import make_run

from jaxdiff import runs
from jaxdiff.config import parse_flags
from jaxdiff.evaluation import measuring, references, samples
from jaxdiff.evaluation.__main__ import COMMANDS
from jaxdiff.evaluation.flags import Drawing, Running
from jaxdiff.generation import conditions


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp('runs') / 'digits'
  make_run(path)
  return path


def machine(batch_size=64):
  return measuring.machine(Running(batch_size=batch_size))


def noise(num):
  return np.zeros((num, 8, 8, 1), np.uint8)


def test_names_of_results_have_all_that_differs(workdir):
  run = runs.load(workdir, machine().mesh)
  rows = samples.conditions_of(run, 'uniform')

  def path(*words, metric='classifier'):
    command = parse_flags(COMMANDS, ['fid', '--samples', str(workdir), *words])
    found = samples.of_run(run, rows, command.drawing, machine(), 16, draw=id)
    return found.path(metric, command)

  assert path() == workdir / 'evaluation' / 'classifier_ddim1_seed0_step3.json'
  every = [
    path(*words.split())
    for words in (
      '--num 9',
      '--num 1000001',
      '--num 1000002',
      '--scale 3',
      '--eta 0.5',
      '--eta 1',
      '--no-ema',
      '--labels test',
      '--reference digits:test',
      '--reference digits',
      '--metrics all',
      '--seed 4',
    )
  ]
  assert len({path(), *every}) == 13
  # No number depends on these.
  assert path('--batch-size', '7', '--mode', 'pmap', '--cache', 'x') == path()
  assert path('--out', 'a.json').name == 'a.json'


def test_names_beside_files(tmp_path):
  np.savez(tmp_path / 'a.heun.npz', arr_0=noise(4))
  np.savez(tmp_path / 'a.ddim.npz', arr_0=noise(4))
  names = set()
  for name in ('a.heun.npz', 'a.ddim.npz'):
    command = parse_flags(COMMANDS, ['fid', '--samples', str(tmp_path / name)])
    found = samples.of_files(command.samples, None, Drawing())
    names.add(found.path('inception', command).name)
  assert names == {'a.heun.npz.inception.json', 'a.ddim.npz.inception.json'}


def test_names_of_images_that_have_a_prefix(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  np.savez('a.npz', arr_0=noise(4))
  parts = {}
  for name in ('a.npz', 'npz:a.npz', 'digits', 'digits:test'):
    found = samples.of_files(name, None, Drawing())
    command = parse_flags(COMMANDS, ['fid', '--samples', name])
    parts[name] = str(found.path('inception', command))
  assert parts == {
    'a.npz': 'a.npz.inception.json',
    'npz:a.npz': 'a.npz.train.inception.json',
    'digits': 'digits.train.inception.json',
    'digits:test': 'digits.test.inception.json',
  }


def test_labels_of_a_model_without_are_refused(workdir):
  run = runs.load(workdir, machine().mesh)
  run = run._replace(model=run.model._replace(takes=()))
  with pytest.raises(ValueError, match='--labels test has no effect'):
    samples.conditions_of(run, 'test')
  assert samples.conditions_of(run, None) == conditions.NONE
  samples.check_data_name('digits', None, conditions.NONE)
  with pytest.raises(ValueError, match='--data-name has no effect'):
    samples.check_data_name('digits', 'x.npz', conditions.NONE)


def test_a_result_replaces_nothing_but_a_result(tmp_path):
  np.savez(tmp_path / 'a.npz', arr_0=noise(4))
  found = samples.of_files(str(tmp_path / 'a.npz'), None, Drawing())

  def path(out):
    words = ['--samples', 'a.npz', '--out', str(tmp_path / out)]
    return found.path('inception', parse_flags(COMMANDS, ['fid', *words]))

  with pytest.raises(ValueError, match='--out must end in .json'):
    path('b.npz')
  (tmp_path / 'config.json').write_text('{"workdir": "runs/a"}')
  (tmp_path / 'cut.json').write_text('{"metr')
  for name in ('config.json', 'cut.json'):
    with pytest.raises(FileExistsError, match='is there and no result'):
      path(name)
  (tmp_path / 'old.json').write_text('{"metrics": {}}')
  assert path('old.json') == tmp_path / 'old.json'


def test_a_cache_that_cannot_be_written_is_found_first(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(FileExistsError, match='a folder was to be written'):
    references.cache_folder(str(tmp_path / 'file'))
