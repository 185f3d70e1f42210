"""Plans of runs on TPUs, compiled for topologies without a TPU."""

import dataclasses
import subprocess
import sys

import jax
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import hlo, plan
from jaxdiff.parallel import topology


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    (['--topology', 'v9:2x2'], '--topology must be one of'),
    (['--topology', 'v5e'], '--topology must be one of'),
    (['--topology', 'v5e:0x0'], 'a grid of 2 positive whole numbers'),
    (['--topology', 'v5e:4x4x4'], 'such as v5e:4x4, got'),
    (['--topology', 'v6e:2x2x1'], 'a grid of 2 positive whole numbers'),
    (['--topology', 'v5p:4x4'], 'such as v5p:4x4x4, got'),
    (['--topology', 'v4:-1x2x2'], 'a grid of 3 positive whole numbers'),
    (['--topology', 'v4:2x2x2.5'], 'a grid of 3 positive whole numbers'),
    (['--topology', 'v5e:9999x9999'], 'at most 65,536 chips'),
    (['--num-classes', '3'], 'need --shape'),
    (['--shape', '8', '8'], '--shape must be'),
    (['--shape', '0'], r'in [1, 1000000]'),
    (['--shape', '8', '8', '1', '--num-classes', '0'], r'in [1, 1000000]'),
    (['--shape', '8', '--categories', '2000000'], r'in [2, 1000000]'),
    (['--shape', '8', '--categories', '1'], r'in [2, 1000000], got 1'),
    (['--shape', '8', '--categories', '2'], '--categories are for'),
    (['--shape', '8', '8', '10000000000000'], r'in [1, 1000000]'),
    (['--trainig.batch-size', '8'], 'trainig'),
  ],
)
def test_wrong_flags_are_one_line(argv, message, capsys):
  assert message in refusal(['configs/digits.py', *argv], capsys)


def refusal(argv, capsys):
  with pytest.raises(SystemExit) as stop:
    plan.main(argv)
  said = f'{stop.value.code}{capsys.readouterr().err}'
  assert 'Traceback' not in said
  return said


@pytest.mark.parametrize(
  ('name', 'shape', 'message'),
  [
    ('lm1b', '128', '--shape of text needs --categories'),
    ('digits_categories', '8 8 1', '--shape of categories needs --categories'),
    ('digits_class', '8 8 1', '--shape needs --num-classes'),
    ('classifier_digits', '8 8 1', '--shape needs --num-classes'),
    ('papers/digress_planar', '8 8 3', '--shape is not for graphs'),
    ('papers/sd_text_to_image', '8 8 4', 'needs --text-shape, such as 77 768'),
    ('captioned_shapes', '16 16 3 --text-shape 9 8', "of ('clip', 't5'), got"),
  ],
)
def test_a_shape_needs_what_its_run_needs(name, shape, message, capsys):
  argv = [f'configs/{name}.py', '--shape', *shape.split()]
  assert message in refusal(argv, capsys)


def test_the_compiler_is_looked_for_before_data_are_read(capsys, monkeypatch):
  monkeypatch.setattr(topology.importlib.util, 'find_spec', lambda name: None)
  argv = ['configs/digits.py', '--data.name', 'npz:missing.npz']
  assert 'pip install libtpu' in refusal(argv, capsys)


@pytest.mark.parametrize(
  ('grid', 'num'),
  [('v4:2x2x1', 4), ('v5e:2x4', 8), ('v5p:2x2x2', 8), ('v6e:2x2', 4)],
)
def test_a_chip_is_one_device(grid, num):
  pytest.importorskip('libtpu')
  assert len(topology.topology(grid)[1]) == num


def test_the_longest_of_the_least_times_bounds_a_step():
  chip = topology.CHIPS['v5e']
  costs = hlo.Costs(197e12, 819e9 / 2, {'all-reduce': (1, 300e9)})
  config = plan.configs.parse(['--config', 'configs/digits.py'])
  lines = list(plan.report(config, chip, 4, plan.Plan({'all': 17e9}, costs)))
  assert lines[-1].startswith('a step takes at least 1500.00 ms')
  assert 'bound by collectives' in lines[-1]
  fits = list(plan.report(config, chip, 4, plan.Plan({'all': 20e9}, costs)))
  assert any('DOES NOT FIT' in line for line in fits)
  assert not any('DOES NOT FIT' in line for line in lines)


def test_a_sampler_costs_its_steps():
  plans = []
  for steps in (2, 4):
    settings = {'steps': steps, 'sampler': 'ddim', 'threshold': 'none'}
    config = tiny.changed(tiny.config, sampling=settings)
    plans.append(plan.compile_sampler(config, tiny.SPEC, jax.devices()))
  two, four = plans
  assert four.costs.flops == 2 * two.costs.flops > 0
  assert two.memory['parameters'] == four.memory['parameters'] > 0
  chip = topology.CHIPS['v5e']
  *_, last = plan.report(tiny.config, chip, 8, two)
  assert last.startswith('sampling in 2 steps takes at least')


def test_the_weights_beside_factors_take_memory(monkeypatch):
  monkeypatch.setattr(
    plan, '_compiled', lambda lowered, memory, subject: memory
  )
  config = dataclasses.replace(
    tiny.config,
    network=c.DiT(width=8, depth=2, num_heads=2, patch_size=4),
    init='run',
    lora=c.Lora(rank=2),
  )
  memory = plan.compile_train_step(config, tiny.SPEC, jax.devices())
  params = jax.tree.leaves(tiny.abstract_params(config))
  assert memory['frozen'] == 4 * sum(x.size for x in params)
  # Four matrices of 8 x 8 in each of two blocks; and a count of steps.
  factors = 4 * (2 * 4 * 2 * (8 + 8))
  assert memory['parameters'] == memory['averages'] == factors
  assert memory['optimizer'] == pytest.approx(2 * factors, abs=16)


@pytest.mark.parametrize('text', ['clip', 't5'])
def test_a_batch_has_encoded_prompts(text, monkeypatch):
  """The encoder of a prompt is no part of a step; what it makes is read."""
  monkeypatch.setattr(
    plan, '_compiled', lambda lowered, memory, subject: memory
  )
  condition = {'text': text, text: 'folder', 'length': 5}
  spec = tiny.SPEC._replace(text_dims=(7, 7))
  config = tiny.changed(tiny.config, condition=condition)
  memory = plan.compile_train_step(config, spec, jax.devices())
  # On one of eight devices two of 16 images, vectors and floats; a mask, bytes.
  mask = 5 if text == 't5' else 0
  assert memory['batch'] == 2 * (4 * (64 + 5 * 7 + 7) + mask)


@pytest.mark.slow
def test_a_transformer_is_planned_for_four_chips():
  pytest.importorskip('libtpu')
  result = subprocess.run(
    [sys.executable, '-m', 'jaxdiff.plan', 'configs/sums.py']
    + ['--topology', 'v5e:2x2'],
    capture_output=True,
    text=True,
    timeout=500,
  )
  assert result.returncode == 0, result.stderr
  assert '0.002 TFLOP' in result.stdout
  assert 'fits' in result.stdout
  assert 'bound by memory' in result.stdout


def test_a_shape_is_that_of_latents(capsys, monkeypatch):
  """The autoencoder of a recipe is on the Hub, and no part of the step."""
  seen = []
  monkeypatch.setattr(
    plan, 'topology', lambda name: (topology.CHIPS['v5e'], [0])
  )
  monkeypatch.setattr(
    plan,
    'compile_train_step',
    lambda config, spec, devices: (
      seen.append((config, spec)) or plan.Plan({}, hlo.Costs(1.0, 1.0, {}))
    ),
  )
  recipe = 'configs/papers/dit_b4_imagenet256.py'
  plan.main([recipe, '--shape', '32', '32', '4', '--num-classes', '1000'])
  ((config, spec),) = seen
  assert config.latent.autoencoder is None and spec.shape == (32, 32, 4)
  assert '--shape is that of latents' in capsys.readouterr().out


@pytest.mark.parametrize('ends', ['compiler', 'report'])
def test_the_largest_batch_is_the_last_that_fits(ends, capsys, monkeypatch):
  """Either the compiler says that the next does not fit, or its memory does."""

  def compile_train_step(config, spec, devices):
    size = config.training.batch_size
    if size > 256 and ends == 'compiler':
      raise MemoryError('Ran out of memory')
    return plan.Plan({'all': size / 256 * 15e9}, hlo.Costs(1.0, 1.0, {}))

  monkeypatch.setattr(
    plan, 'topology', lambda name: (topology.CHIPS['v5e'], [0])
  )
  monkeypatch.setattr(plan, 'compile_train_step', compile_train_step)
  shape = ['--shape', '8', '8', '1', '--largest']
  plan.main(['configs/digits.py', *shape])
  last = capsys.readouterr().out.splitlines()[-1]
  assert last == 'the largest batch that fits: 256'
