"""The command reconstruction, and rFD in training."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from measured import make_classifier, make_run

from jaxdiff import config as c
from jaxdiff import data, models, training
from jaxdiff.evaluation import frechet, inloop
from jaxdiff.evaluation.__main__ import main
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import Checkpoints, examples
from jaxdiff.runs.config_json import save_config

RFD = 'rFD (classifier/pool, digits, seed 0)'


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
  """Programs for eight take several times as long to compile."""
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:2])


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
  path = tmp_path_factory.mktemp('classifier')
  return path, *make_classifier(path)


@pytest.fixture(scope='module')
def run(tmp_path_factory, classifier):
  """A run of an autoencoder with a codebook that was never trained."""
  workdir = tmp_path_factory.mktemp('run') / 'autoencoder'
  config = dataclasses.replace(
    tiny.config,
    workdir=str(workdir),
    diffusion=c.Autoencoding(
      adversary='patch(4, 1)', perceptual=f'classifier:{classifier[0]}'
    ),
    network=c.Autoencoder(
      latent_channels=2,
      channels=4,
      channel_mults=(1, 2),
      num_res_blocks=1,
      attention=False,
      num_groups=2,
      num_codes=5,
    ),
    evaluation=c.Evaluation(
      every=2, features=f'classifier:{classifier[0]}', num=32
    ),
  )
  params = tiny.random_params(config)
  optimizer = optimizers.make(config.optimizer, config.training.num_steps)
  state = training.init_state(params, optimizer, jax.random.key(0))
  with Checkpoints(workdir) as store:
    store.save(3, state)
  save_config(workdir, c.describe(config, tiny.SPEC))
  return config, params


@pytest.mark.slow
def test_the_command_measures_the_test_split(run, classifier, tmp_path, capsys):
  config, params = run
  flags = ['--features', f'classifier:{classifier[0]}', '--num', '40']
  main(
    ['reconstruction', config.workdir, *flags, '--cache', str(tmp_path)]
    + ['--batch-size', '16']
  )
  path = next(Path(config.workdir, 'evaluation').glob('recon*.json'))
  found = json.loads(path.read_text())
  value = {name: x['value'] for name, x in found['metrics'].items()}
  assert list(value) == ['psnr', 'ssim', 'codes_used', 'perplexity', RFD]
  assert found['split'] == 'test' and found['num_references'] == 40
  assert path.with_suffix('.png').exists() and 'psnr' in capsys.readouterr().out
  # By hand.
  model = models.make(config, tiny.SPEC)
  test = examples.load(config, config.workdir, 'test', tiny.SPEC).dataset
  images = data.subset(test, 40).gather(np.arange(40))['x0']
  x = images.astype(np.float32) / 127.5 - 1
  y = np.asarray(jax.jit(model.reconstruct)(params, x).images)
  error = np.mean((x - np.clip(y, -1, 1)) ** 2, (1, 2, 3))
  np.testing.assert_allclose(
    value['psnr'], np.mean(10 * np.log10(4 / error)), rtol=1e-3
  )
  _, network, weights = classifier
  pool = jax.jit(lambda x: network.apply({'params': weights}, x).pool)
  rounded = np.clip(np.round(127.5 * (y + 1)), 0, 255) / 127.5 - 1
  exact = frechet.distance(
    frechet.moments(np.asarray(pool(rounded.astype(np.float32)))),
    frechet.moments(np.asarray(pool(x))),
  )
  np.testing.assert_allclose(value[RFD], exact, rtol=0.01)


def test_training_measures_it_too(run):
  config, params = run
  evaluate = inloop.make(config, models.make(config, tiny.SPEC))
  assert evaluate(params, 2)[RFD] > 0
  path = f'{config.workdir}/evaluation/0000002_distance.json'
  assert json.loads(open(path).read())['num_samples'] == 32


def test_other_runs_have_no_reconstructions(tmp_path):
  make_run(tmp_path)
  with pytest.raises(SystemExit, match='holds no autoencoder'):
    main(['reconstruction', str(tmp_path)])
  with pytest.raises(SystemExit, match='are of --features'):
    main(['reconstruction', str(tmp_path), '--resize', 'none'])
