"""The wheel: its scripts and recipes, and the commands that it installs."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from jaxdiff import config, names, recipes

ROOT = Path(__file__).parents[1]


def test_a_recipe_is_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert config.load_file('configs/digits.py').workdir == 'runs/digits'
  # One that is made of another, in a folder of its own.
  subvp = config.load_file('configs/papers/score_sde_subvp_cifar10.py')
  assert subvp.workdir == 'runs/score_sde_subvp_cifar10'
  assert subvp.network.num_res_blocks == 8
  with pytest.raises(ValueError, match=r'dit_xl3\.py.*dit_xl2_imagenet256'):
    config.load_file('configs/papers/dit_xl3.py')
  with pytest.raises(ValueError, match=r'configs/digit\.py.*digits_class'):
    config.load_file('configs/digit.py')
  # One's own folder of that name is not mixed with the shipped one.
  (tmp_path / 'configs').mkdir()
  with pytest.raises(ValueError, match='does not exist'):
    config.load_file('configs/digits.py')


def test_commands_name_functions():
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  assert set(project['scripts']) == {
    'jaxdiff-train',
    'jaxdiff-sample',
    'jaxdiff-evaluate',
  }
  for target in project['scripts'].values():
    assert callable(names.resolve(target, 'script'))
  assert recipes.shipped('train.py').is_file()


@pytest.mark.slow
def test_the_wheel_trains_from_an_empty_folder(tmp_path):
  build = 'pip wheel --no-deps --no-build-isolation --wheel-dir'.split()
  subprocess.run(
    [sys.executable, '-m', *build, str(tmp_path), str(ROOT)], check=True
  )
  (wheel,) = tmp_path.glob('*.whl')
  zipfile.ZipFile(wheel).extractall(tmp_path / 'installed')
  shipped = tmp_path / 'installed' / 'jaxdiff' / 'shipped'
  files = lambda root: {
    p.relative_to(root) for p in root.rglob('configs/**/*.py')
  }
  assert files(shipped) == files(ROOT)
  run = 'from jaxdiff import recipes; recipes.train()'
  flags = '--config configs/two_moons.py --training.num-steps 2 --workdir run'
  subprocess.run(
    [sys.executable, '-c', run, *flags.split()],
    cwd=tmp_path,
    env={'PYTHONPATH': str(tmp_path / 'installed'), 'GLIBC_TUNABLES': ''},
    check=True,
  )
  assert (tmp_path / 'run' / 'config.json').is_file()
