"""train.py of an autoencoder and of its latents, and sample.py, as a person
runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample
import train
from jaxdiff.evaluation import __main__ as evaluation
from jaxdiff.pretrained.autoencoder_weights import load_autoencoder

ROOT = Path(__file__).parents[2]
FLAGS = (
  '--training.num-steps 2 --training.batch-size 8 --training.log-every 1 '
  '--sampling.num 4 --optimizer.warmup-steps 1 --network.channels 4 '
  '--network.num-res-blocks 1'
).split()


def run(config, workdir, *flags):
  path = str(ROOT / 'configs' / config)
  train.main(['--config', path, '--workdir', str(workdir), *FLAGS, *flags])


@pytest.fixture(scope='module')
def autoencoder(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run') / 'autoencoder'
  run(
    'digits_autoencoder.py',
    workdir,
    *'--network.num-groups 2 --network.num-codes 5'.split(),
    *['--diffusion.adversary', 'patch(width=4, depth=1)'],
  )
  return workdir


@pytest.mark.slow
def test_an_autoencoder_is_measured_drawn_and_written(autoencoder, capsys):
  measured = json.loads((autoencoder / 'evaluation/0000002.json').read_text())
  assert measured['split'] == 'test' and measured['num'] == 300
  assert measured['psnr'] > 0 and -1 <= measured['ssim'] <= 1
  assert 0 < measured['codes_used'] <= 1 <= measured['perplexity'] <= 5
  picture = np.asarray(Image.open(autoencoder / 'samples/0000002.png'))
  assert picture.std() > 0
  found = load_autoencoder(autoencoder)
  assert found.network.num_codes == 5 and found.network.channels == 4
  with pytest.raises(SystemExit, match='an autoencoder: it draws no samples'):
    sample.main([str(autoencoder)])


@pytest.mark.slow
def test_samples_of_latents_are_images(autoencoder, tmp_path):
  workdir = tmp_path / 'latent'
  flags = '--condition.label --sampling.steps 2'.split()
  flags += ['--latent.autoencoder', str(autoencoder)]
  flags += ['--latent.cache', str(tmp_path / 'cache')]
  run('digits_latent.py', workdir, *flags)
  spec = json.loads((workdir / 'config.json').read_text())['spec']
  assert spec['latents']['shape'] == [4, 4, 2]
  assert spec['latents']['sha256'] == load_autoencoder(autoencoder).sha256
  out = tmp_path / 'samples.npz'
  flags = ['--labels', '1,2', '--num', '2', '--steps', '2', '--out', str(out)]
  sample.main([str(workdir), *flags])
  images = np.load(out)['arr_0']
  assert images.shape == (2, 8, 8, 1) and images.dtype == np.uint8
  flags = '--num 8 --steps 2 --batch-size 8 --no-ode'.split()
  evaluation.main(['likelihood', str(workdir), *flags])
  found = json.loads((workdir / 'likelihood.json').read_text())
  assert found['unit'] == 'bits per number of a latent'
  assert found['bins'] is None and np.isfinite(found['bound'][0])
  with pytest.raises(SystemExit, match='--threshold must be none'):
    sample.main([str(workdir), '--threshold', 'clip'])
