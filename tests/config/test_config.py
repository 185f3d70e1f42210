import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import build, networks
from jaxdiff import config as configs
from jaxdiff.config import Spec

ROOT = Path(__file__).parents[2]
DIGITS = Spec((8, 8, 1), num_classes=10)
SPECS = {
  'digits': DIGITS,
  'digits_class': DIGITS,
  'fashion_mnist': Spec((28, 28, 1), num_classes=10),
  'ddpm_cifar10': Spec((32, 32, 3), num_classes=10),
  'captioned_shapes': Spec((16, 16, 3)),
  'emoji': Spec((16, 16, 3)),
  'emoji_small': Spec((8, 8, 3)),
  'emoji_large': Spec((32, 32, 3)),
  'digits_categories': DIGITS._replace(
    categories=256, marginals=(1 / 256,) * 256
  ),
  'sums': tiny.text_spec(11, '0123456789+='),
  'tiny_shakespeare': tiny.text_spec(128, 'abcdef'),
  'names': tiny.text_spec(15, 'abcdef', sizes=True),
  'text8': tiny.text_spec(256, 'abcdefghijklmnopqrstuvwxyz '),
  'lm1b': tiny.text_spec(128, 'abcdef', sizes=True),
  'community_small': tiny.graph_spec(20, sizes=True),
  'planar': tiny.graph_spec(64),
  'qm9': tiny.graph_spec(9, kinds=4, sizes=True),
}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')))
def test_every_config_takes_a_step(path):
  config, spec = configs.load_file(str(path)), SPECS[path.stem]
  config, spec = tiny.with_text(config, spec)
  # At full size without computing, then shrunken for real.
  full = build.make_task(config, spec)
  state = jax.eval_shape(full.init, jax.random.key(0))
  batch = tiny.batch(config, spec, config.training.batch_size)
  _, metrics = jax.eval_shape(full.step, state, batch)
  assert metrics['loss'].shape == ()

  small, spec = tiny.with_text(tiny.shrunken(config), spec)
  batch = tiny.batch(small, spec, 8)
  null = {name: x[0] for name, x in batch['cond'].items()}
  task = build.make_task(small, spec, null)
  state = jit(task.init)(jax.random.key(0))
  state, metrics = jit(task.step)(state, batch)
  assert np.isfinite(metrics['loss']) and state.step == 1
  cond = tiny.conditions(small, 2, sampling=True)
  told = build.with_null(cond, null) if cond else {}
  options = build.options(small, **told)
  draw = build.make_sampler(small, spec)
  drawn = jax.eval_shape(draw, state.params, options, np.arange(2))
  x = drawn if spec.categories is None else drawn.x
  assert jax.tree.map(lambda x: x.shape[1:], x) == spec.shape
  assert {len(x) for x in jax.tree.leaves(x)} == {2}


def test_the_papers_network_has_the_papers_size():
  config = configs.load_file('configs/ddpm_cifar10.py')
  task = build.make_task(config, SPECS['ddpm_cifar10'])
  state = jax.eval_shape(task.init, jax.random.key(0))
  count = sum(x.size for x in jax.tree.leaves(state.params))
  assert count == 35_746_307


def test_flags_go_over_the_file():
  config = configs.parse(
    '--config configs/ddpm_cifar10.py --training.batch-size 64 --seed 3 '
    '--parallel.mode pmap --checkpoint.every 7 --workdir w '
    '--training.num-steps 9'.split()
  )
  assert config.config == 'configs/ddpm_cifar10.py'
  assert config.training.batch_size == 64 and config.training.num_steps == 9
  assert config.seed == 3 and config.parallel.mode == 'pmap'
  assert config.checkpoint.every == 7 and config.workdir == 'w'
  assert config.diffusion.prediction == 'eps'  # the file's


def test_no_arguments_are_the_digits():
  config = configs.parse([])
  assert config.data.name == 'digits' and config.workdir == 'runs/digits'


def test_json_round_trip():
  config = configs.load_file('configs/ddpm_cifar10.py')
  assert configs.from_dict(configs.to_dict(config)) == config


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ('--training.batch-sise 3', 'batch-size'),
    ('--parallel.mode xmap', 'xmap'),
    ('--training.num-steps many', 'many'),
  ],
)
def test_bad_flags_are_named(flags, message, capsys):
  with pytest.raises(SystemExit):
    configs.parse(flags.split())
  assert message in capsys.readouterr().err


def test_bad_files_are_named(tmp_path):
  with pytest.raises(ValueError, match=r'ddpm_cifar10\.py'):
    configs.load_file('configs/nothing.py')
  (tmp_path / 'empty.py').write_text('x = 1')
  with pytest.raises(ValueError, match='must define `config`'):
    configs.load_file(str(tmp_path / 'empty.py'))


def test_unknown_fields_name_the_nearest():
  with pytest.raises(
    ValueError, match=r'unet\.chanels.*network\.unet\.channels'
  ):
    configs.from_dict({'network': {'unet': {'chanels': 3}}})


@pytest.mark.parametrize(
  ('section', 'field', 'message'),
  [
    ('diffusion', 'prediction', r"prediction must be one of \['edm', 'eps'"),
    ('diffusion', 'schedule', "schedule must be one of .*'cosine'"),
    ('diffusion', 'loss', 'loss must be one of'),
    ('diffusion', 'weighting', "weighting must be one of .*'min_snr'"),
    ('diffusion', 'error', "error must be one of .*'huber'"),
    ('diffusion', 'times', "times must be one of .*'log_normal'"),
    ('sampling', 'guidance', "guidance must be one of .*'apg'"),
    ('sampling', 'sampler', "sampler must be one of .*'ddim'"),
    ('sampling', 'times', "times must be one of .*'uniform'"),
    ('sampling', 'threshold', "threshold must be one of .*'clip'"),
  ],
)
def test_bad_names_list_the_good_ones(section, field, message):
  part = dataclasses.replace(getattr(tiny.config, section), **{field: 'no'})
  config = dataclasses.replace(tiny.config, **{section: part})
  with pytest.raises(ValueError, match=message + ".*got 'no'"):
    build.make_task(config, DIGITS)


def test_imports_bring_neither_tensorflow_nor_torch():
  names = [
    p.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
    for p in (ROOT / 'jaxdiff').rglob('*.py')
    if not p.name.startswith('__')
  ]
  code = (
    f'import sys, train, sample, {", ".join(names)}\n'
    "print({'tensorflow', 'torch'} & set(sys.modules))"
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.stdout == 'set()\n', done.stderr


def test_networks_import_nothing_of_the_rest():
  for path in Path(networks.__file__).parent.glob('*.py'):
    lines = [
      line
      for line in path.read_text().splitlines()
      if 'import' in line and 'jaxdiff' in line
    ]
    assert all('jaxdiff.networks' in line for line in lines), (path, lines)


def test_conditions_that_the_set_has_not_are_refused():
  label = dataclasses.replace(tiny.config.condition, label=True)
  config = dataclasses.replace(tiny.config, condition=label)
  with pytest.raises(ValueError, match='needs a set with labels'):
    build.make_task(config, Spec((8, 8, 1)))
