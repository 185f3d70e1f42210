"""Training from published weights, whole or beside them."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
import tiny_stable_diffusion
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from jaxdiff import config as c
from jaxdiff import hub, lora, models, parallel, runs, training
from jaxdiff.generation.flags import SamplerFlags
from jaxdiff.generation.job import load_run
from jaxdiff.models import optimizer as optimizers
from jaxdiff.pretrained import unet_weights
from jaxdiff.runs import examples, loop, published, warm_start
from jaxdiff.runs.config_json import save_config
from jaxdiff.runs.run import base_params, digest

SHAPES = ('--data.name', 'captioned_shapes', '--data.image-size', '16')


def train(init, workdir, *flags):
  """Does what train.py does, without pictures; returns the averaged weights."""
  flags = [
    *('--init', str(init), '--workdir', str(workdir), '--log', 'none'),
    *('--training.batch-size', '8', '--training.num-steps', '1'),
    *('--optimizer.schedule', 'constant', '--optimizer.warmup-steps', '0'),
    *flags,
  ]
  config = c.parse(flags, warm_start.published)
  data = examples.load(config, config.workdir, training=True)
  config, spec, start = warm_start.load(config, data.spec)
  model = models.make(config, spec, data.null, start)
  trained = models.trained(config, model, start)
  task = training.make_task(
    optimizer=optimizers.make(config.optimizer, config.training.num_steps),
    **trained._asdict(),
    **optimizers.step_options(config),
  )
  described = c.describe(config, model.spec)
  return loop.fit(config, task, data.dataset, described)


def test_factors_refuse_another_base(tmp_path):
  mesh, base = parallel.local_mesh(), tmp_path / 'base'
  before = imported(tiny.UNET, base, None)
  config = dataclasses.replace(tiny.config, init=str(base), workdir='run')
  spec = c.Spec('image', (8, 8, 1), init=digest(before))
  jax.tree.map(
    np.testing.assert_array_equal, base_params(config, spec, mesh), before
  )
  with pytest.raises(ValueError, match='base holds other weights than those'):
    base_params(config, spec._replace(init=64 * '0'), mesh)
  base.rename(tmp_path / 'elsewhere')
  with pytest.raises(FileNotFoundError, match='factors of run are beside'):
    base_params(config, spec, mesh)


def differing(params, before):
  params, before = jax.device_get((params, before))
  same = jax.tree.map(lambda a, b: bool(np.all(a == b)), params, before)
  return {path for path, equal in flatten_dict(same).items() if not equal}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny_stable_diffusion.write(tmp_path_factory.mktemp('sd') / 'sd')


def load(path, **flags):
  mesh = parallel.local_mesh()
  return load_run(path, SamplerFlags(**flags), mesh)


@pytest.mark.slow
def test_factors_beside_a_stable_diffusion(folder, tmp_path):
  workdir, init = tmp_path / 'run', tmp_path / 'base'
  init.symlink_to(folder)
  flags = (*SHAPES, '--lora.rank', '2')
  whole = train(init, workdir, *flags)
  base = load(folder).params
  moved = differing(whole, base)
  assert moved == differing(load(workdir).params, base)
  assert {path[-3] for path in moved} == {'self_attention', 'text_attention'}
  assert not differing(load(workdir, lora_scale=0.0).params, base)

  # The factors alone are in the checkpoint.
  run = runs.load(workdir, parallel.local_mesh(), lora_scale=None)
  size = sum(x.size for x in jax.tree.leaves(run.params))
  assert size < sum(x.size for x in jax.tree.leaves(base)) / 10
  wanted = lora.merged(base, run.params, 1.0)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
    *jax.device_get((load(workdir).params, wanted)),
  )

  # Settings of the folder, and those of the flags.
  assert run.config.network.attention_resolutions == (8,)
  assert run.config.condition.drop == 0.1 and run.config.sampling.scale == 7.5
  vae = load(folder).spec.latents['sha256']
  assert run.spec.latents['sha256'] == vae

  # It goes on, and other weights are refused.
  train(init, workdir, *flags, '--training.num-steps', '2')
  with pytest.raises(ValueError, match='lora.rank: checkpoint has 2'):
    train(init, workdir, *SHAPES, '--lora.rank', '3')
  other = tiny_stable_diffusion.write(tmp_path / 'other')
  weights = other / f'unet/{unet_weights.STEM}.safetensors'
  state = load_file(weights)
  save_file({k: x + 1 for k, x in state.items()}, weights)
  with pytest.raises(ValueError, match='began with other weights'):
    train(other, workdir, *flags, '--training.num-steps', '2')
  init.unlink()
  with pytest.raises(FileNotFoundError, match='base'):
    load(workdir)
  init.symlink_to(other)
  with pytest.raises(ValueError, match='holds other weights than those'):
    load(workdir)


def test_the_network_is_that_of_the_size_of_the_data(folder):
  config = c.parse(['--init', str(folder)], warm_start.published)
  assert config.network.attention_resolutions == (8,)
  spec = c.Spec('image', (32, 32, 3), text_dims=(8, 8))
  config, spec, _ = warm_start.load(config, spec)
  assert config.network.attention_resolutions == (16,)
  assert spec.latents['shape'] == (16, 16, 4)
  with pytest.raises(ValueError, match='--data.image-size must be a multiple'):
    warm_start.load(config, spec._replace(shape=(9, 9, 3)))


@pytest.mark.parametrize(
  'flags, message',
  [
    (('--network.channels', '16'), 'has network.channels 8, and this'),
    (('--diffusion.prediction', 'v'), "has diffusion.prediction 'eps'"),
    (('--data.image-size', '9'), '--data.image-size must be a multiple of 2'),
    (('--data.image-size', '0'), '--data.image-size must be in'),
  ],
)
def test_flags_that_a_stable_diffusion_has_not(folder, flags, message):
  with pytest.raises(ValueError, match=message):
    flags = ['--init', str(folder), *flags]
    config = c.parse(flags, warm_start.published)
    warm_start.load(config, c.Spec('image', (16, 16, 3), text_dims=(8, 8)))


def imported(network, workdir, folder):
  """A run as `python -m jaxdiff.pretrained import` makes it."""
  config = dataclasses.replace(
    tiny.config, network=network, data=c.Data('none'), workdir=str(workdir)
  )
  spec = c.Spec('image', (8, 8, 1))
  if isinstance(network, c.DiT):
    config = tiny.changed(
      config,
      condition={'label': True},
      latent={'autoencoder': str(folder)},
      diffusion={'loss': 'hybrid', 'variance': 'learned', 'times': 'grid'},
      sampling={'threshold': 'none'},
    )
    config, spec = tiny.with_latents(
      config, spec._replace(num_classes=10), folder
    )
  params = tiny.random_params(config, spec)
  published.save(published.Published(config, spec, params))
  return params


@pytest.mark.parametrize(
  'network',
  [
    tiny.UNET,
    pytest.param(
      c.DiT(width=8, depth=1, num_heads=2, patch_size=2),
      marks=pytest.mark.slow,
    ),
  ],
  ids=['ddpm', 'dit'],
)
def test_a_step_of_imported_weights(network, tmp_path):
  before = imported(network, tmp_path / 'base', tmp_path / 'vae')
  digits = ('--data.name', 'digits')
  after = train(tmp_path / 'base', tmp_path / 'run', *digits)
  moved = differing(after, before)
  assert len(moved) > 0.8 * len(flatten_dict(before))
  config = runs.read_config(tmp_path / 'run')[0]
  assert config.network == network


def begun(init, workdir):
  """Writes what is left of a run with --init, and two steps of it."""
  config = dataclasses.replace(
    tiny.config, workdir=str(workdir), init=init and str(init)
  )
  config, spec, _ = warm_start.load(config, c.Spec('image', (8, 8, 1)))
  save_config(workdir, c.describe(config, spec))
  (workdir / 'checkpoints' / '2').mkdir(parents=True)
  return lambda init: warm_start.load(
    dataclasses.replace(config, init=str(init)), c.Spec('image', (8, 8, 1))
  )


def test_a_run_goes_on_from_its_own_weights(tmp_path):
  base, other, moved = (tmp_path / name for name in ('a', 'b', 'c'))
  params = imported(tiny.UNET, base, None)
  changed = jax.tree.map(lambda x: x + 1, params)
  config, spec = runs.read_config(base)
  config = dataclasses.replace(config, workdir=str(other))
  published.save(published.Published(config, spec, changed))
  again, alone = begun(base, tmp_path / 'run'), begun(None, tmp_path / 'alone')
  assert again(base)[1].init == digest(params)
  # Another --init, or one more, has no effect on what continues.
  for load_again in (again, alone):
    with pytest.raises(ValueError, match='began with other weights than those'):
      load_again(other)
  base.rename(moved)
  assert again(moved)[1].init == again(base)[1].init == digest(params)
  flags = ['--init', str(base), '--workdir', str(tmp_path / 'run')]
  assert c.parse(flags, warm_start.published).init == str(base)


def test_a_stable_diffusion_of_the_hub(folder, monkeypatch):
  local = hub.local_path
  monkeypatch.setattr(
    hub,
    'local_path',
    lambda path: folder if path == 'hf://lab/sd' else local(path),
  )
  config = c.parse(['--init', 'hf://lab/sd'], warm_start.published)
  spec = c.Spec('image', (16, 16, 3), text_dims=(8, 8))
  assert warm_start.load(config, spec)[1].init == digest(load(folder).params)


@pytest.mark.slow
def test_a_step_of_a_whole_stable_diffusion(folder, tmp_path):
  after = train(folder, tmp_path, *SHAPES)
  before = load(folder).params
  assert len(differing(after, before)) > 0.8 * len(flatten_dict(before))
