"""Configurations: files, flags, JSON; every file of configs/ takes a step."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import config as c
from jaxdiff import models, networks
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.runs.examples import with_null

ROOT = Path(__file__).parents[2]
DIGITS = tiny.SPEC
image = lambda *shape: c.Spec('image', shape, num_classes=10)
SPECS = {
  'two_moons': c.Spec('points', (2,)),
  'classifier_digits': DIGITS,
  'digits': DIGITS,
  'digits_autoencoder': DIGITS,
  'digits_latent': DIGITS,
  'digits_class': DIGITS,
  'fashion_mnist': image(28, 28, 1),
  'fashion_class': image(28, 28, 1),
  'fashion_flow': image(28, 28, 1),
  'fashion_consistency': image(28, 28, 1),
  'fashion_mean_flow': image(28, 28, 1),
  'fashion_autoencoder': image(28, 28, 1),
  'fashion_latent': image(28, 28, 1),
  'ddpm_cifar10': image(32, 32, 3),
  'cifar10_subset': image(32, 32, 3),
  'captioned_shapes': image(16, 16, 3),
  'emoji': image(32, 32, 3),
  'emoji_small': image(8, 8, 3),
  'emoji_large': image(32, 32, 3),
  'emoji_autoencoder': image(32, 32, 3),
  'emoji_latent': image(32, 32, 3),
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
  'planar_small': tiny.graph_spec(24, sizes=True),
  'qm9': tiny.graph_spec(9, kinds=4, sizes=True),
  'qm9_small': tiny.graph_spec(9, kinds=4, sizes=True),
}


# Their networks and losses are of the kinds of other configs.
ALIKE = (
  *('emoji', 'emoji_large', 'digits_class', 'fashion_flow', 'fashion_latent'),
  *('names', 'text8', 'lm1b', 'planar', 'fashion_mnist', 'emoji_small'),
  *('qm9', 'qm9_small', 'digits_latent', 'fashion_mean_flow'),
  *('emoji_autoencoder', 'emoji_latent', 'captioned_shapes', 'ddpm_cifar10'),
  *('fashion_autoencoder', 'fashion_consistency', 'fashion_class'),
  'cifar10_subset',
)


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
  monkeypatch.chdir(ROOT)


every_config = pytest.mark.parametrize(
  'path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda path: path.stem
)
one_of_each_kind = pytest.mark.parametrize(
  'path',
  [
    pytest.param(path, marks=pytest.mark.slow if path.stem in ALIKE else ())
    for path in sorted((ROOT / 'configs').glob('*.py'))
  ],
  ids=lambda path: path.stem,
)


@every_config
def test_every_config_builds(path, tmp_path):
  config = c.load_file(str(path))
  spec = tiny.with_text(config, SPECS[path.stem])
  config, spec = tiny.with_latents(config, spec, tmp_path)
  assert models.make(config, spec).spec == spec
  small = tiny.shrunken(config, spec)
  spec = tiny.with_text(small, spec)
  assert models.make(small, spec).spec == spec


@one_of_each_kind
def test_every_config_has_a_step_and_a_loss(path, tmp_path):
  config = c.load_file(str(path))
  spec = tiny.with_text(config, SPECS[path.stem])
  config, spec = tiny.with_latents(config, spec, tmp_path)
  # At full size without computing, then shrunken for real.
  full = models.make(config, spec)
  params = jax.eval_shape(full.init, jax.random.key(0))
  batch = tiny.batch(config, spec, 2)
  keys = jax.random.split(jax.random.key(0), 2)
  u = np.array([0.3, 0.7], np.float32)
  loss, _ = jax.eval_shape(full.loss, params, keys, {**batch, 'u': u})
  assert loss.shape == (2,)

  small = tiny.shrunken(config, spec)
  spec = tiny.with_text(small, spec)
  batch = tiny.batch(small, spec, 2)
  null = tiny.null(small, batch)
  model = models.make(small, spec, null)
  params = tiny.random_params(small, spec, 0.1)
  loss, _ = jit(model.loss)(params, keys, {**batch, 'u': u})
  assert loss.shape == (2,) and np.isfinite(loss).all()
  if model.process is None:
    return  # a classifier or an autoencoder draws nothing
  cond = tiny.conditions(small, 2, sampling=True)
  options = traced_options(small, **(with_null(cond, null) if cond else {}))
  draw = make_sampler(model, small.sampling)
  samples = jax.eval_shape(draw, params, options, np.arange(2))
  assert jax.tree.map(lambda x: x.shape[1:], samples.x) == spec.shape
  assert {len(x) for x in jax.tree.leaves(samples.x)} == {2}


# Compiles the gradient of every network; the tests of train.py do so for one
# of each kind.
@pytest.mark.slow
@every_config
def test_every_config_takes_a_step(path, tmp_path):
  config = c.load_file(str(path))
  spec = SPECS[path.stem]
  config, spec = tiny.with_latents(config, spec, tmp_path)
  small = tiny.shrunken(config, spec)
  spec = tiny.with_text(small, spec)
  batch = tiny.batch(small, spec, 8)
  null = tiny.null(small, batch)
  task = tiny.make_task(small, spec, null)
  state = jit(task.init)(jax.random.key(0))
  state, metrics = jit(task.step)(state, batch)
  assert np.isfinite(metrics['loss']) and state.step == 1


def test_flags_go_over_the_file():
  config = c.parse(
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
  config = c.parse([])
  assert config.data.name == 'digits' and config.workdir == 'runs/digits'


@pytest.mark.parametrize('name', ['ddpm_cifar10', 'sums', 'qm9'])
def test_json_round_trip(name):
  config = c.load_file(f'configs/{name}.py')
  assert c.from_dict(c.to_dict(config)) == config
  spec = SPECS[name]
  assert c.undescribe(c.describe(config, spec)) == (config, spec)


@pytest.mark.parametrize('eta', [0.0, 0.5])
def test_the_sde_solver_of_an_older_run_keeps_its_eta(eta):
  saved = c.describe(
    c.load_file('configs/ddpm_cifar10.py'), SPECS['ddpm_cifar10']
  )
  saved['sampling'] |= {'sampler': 'dpmpp_sde_2m', 'eta': eta}
  sampling = c.undescribe(saved)[0].sampling
  assert sampling.sampler == f'dpmpp_2m_sde({eta})' and sampling.eta == 0


@pytest.mark.parametrize(
  ('flags', 'needed'),
  [
    ('--sampling.scale 2', '--condition.label'),
    ('--condition.vocab-size 300', '--condition.text bpe'),
    ('--sampling.augment 0.2', '--condition.low-res'),
    ('--evaluation.num 9', '--evaluation.every'),
    ('--network.remat-policy dots_saveable', '--network.remat'),
  ],
)
def test_a_flag_without_effect_is_refused(flags, needed):
  with pytest.raises(ValueError, match=f'needs {needed}.* without which'):
    c.parse(flags.split())
  samples = ['--config', 'configs/digits_autoencoder.py', '--sampling.num', '9']
  assert c.parse(samples).sampling.num == 9
  for wrong in ('--condition.label', '--sampling.steps=9'):
    with pytest.raises(ValueError, match='has no effect: .* draws no samples'):
      c.parse([*samples, wrong])
  # A setting of the file may lose its use by a flag.
  file = ['--config', 'configs/digits_class.py', '--condition.no-label']
  assert c.parse(file).sampling.scale == 2


def test_an_eta_without_effect_is_refused():
  flags = '--sampling.eta 0.5 --sampling.sampler'.split()
  assert c.parse([*flags, 'ddim']).sampling.eta == 0.5
  for sampler in ('heun', 'dpmpp_2m_sde'):
    with pytest.raises(ValueError, match='--sampling.eta is for ddim, not'):
      c.parse([*flags, sampler])


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
    c.parse(flags.split())
  assert message in capsys.readouterr().err


def test_bad_files_are_named(tmp_path):
  with pytest.raises(ValueError, match=r'does not exist.*ddpm_cifar10\.py'):
    c.load_file('configs/nothing.py')
  with pytest.raises(ValueError, match=r'configs is a folder.*digits\.py'):
    c.load_file('configs')
  empty = tmp_path / 'empty.py'
  empty.write_text('x = 1')
  with pytest.raises(ValueError, match='must define `config`'):
    c.load_file(str(empty))
  empty.write_text('import nothing_of_this_name')
  with pytest.raises(ValueError, match='cannot be run: ModuleNotFoundError'):
    c.load_file(str(empty))
  empty.write_text(
    'from jaxdiff import config as c\n'
    'config = c.Config(training=c.Training(num_steps=0))\n'
  )
  with pytest.raises(ValueError, match='empty.py: --training.num-steps must'):
    c.load_file(str(empty))


def test_unknown_fields_name_the_nearest():
  with pytest.raises(
    ValueError, match=r'unknown field network\.chanels.*network\.channels'
  ):
    c.from_dict({'network': {'kind': 'UNet', 'chanels': 3}})
  with pytest.raises(ValueError, match=r"network\.kind must be one of.*'DiT'"):
    c.from_dict({'network': {'kind': 'UNett'}})
  with pytest.raises(ValueError, match='training must be an object'):
    c.from_dict({'training': 3})


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
      if 'jaxdiff' in line and line.lstrip().startswith(('import', 'from'))
    ]
    own = ('jaxdiff.networks', 'jaxdiff.cpu')
    assert all(any(name in line for name in own) for line in lines), path


def test_conditions_that_the_data_lack_are_refused():
  config = tiny.changed(tiny.config, condition={'label': True})
  with pytest.raises(ValueError, match='needs a data set with labels'):
    models.make(config, DIGITS._replace(num_classes=None))
