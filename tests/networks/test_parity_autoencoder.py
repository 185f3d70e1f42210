"""Autoencoders against diffusers' by way of its files, every tensor random.

Theirs computes in float64: in float32 it is off by 3e-5 at small gain.
"""

import jax
import numpy as np
import pytest
from networks.test_autoencoder import random_params

from jaxdiff.networks.autoencoder import AutoencoderKL
from jaxdiff.pretrained.autoencoder_weights import (
  load_autoencoder,
  save_autoencoder,
)

torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')

TINY = dict(
  down_block_types=('DownEncoderBlock2D',) * 3,
  up_block_types=('UpDecoderBlock2D',) * 3,
  block_out_channels=(8, 16, 24),
  layers_per_block=1,
  norm_num_groups=4,
)
FULL = dict(
  down_block_types=('DownEncoderBlock2D',) * 4,
  up_block_types=('UpDecoderBlock2D',) * 4,
  block_out_channels=(128, 256, 512, 512),
  layers_per_block=2,
)
BOUND = 5e-6


def randomise(net, gain):
  """All weights of the size that keeps activations, times `gain`."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for parameter in net.parameters():
      noise = torch.randn(parameter.shape, generator=generator)
      fan = parameter[0].numel() if parameter.ndim > 1 else 1
      parameter.copy_(gain * noise / fan**0.5)
  return net.eval()


def relative(ours, theirs):
  theirs = theirs.permute(0, 2, 3, 1).detach().numpy()
  error = np.abs(np.asarray(ours) - theirs).max()
  return error / max(np.abs(theirs).max(), 1e-30)


def check_kl(settings, gain, shape, folder):
  net = randomise(diffusers.AutoencoderKL(**settings), gain)
  net.save_pretrained(folder)
  network, params, _ = load_autoencoder(folder)
  images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
  net.double()
  with torch.no_grad():
    moments = net.encode(torch.tensor(images).permute(0, 3, 1, 2).double())
    moments = moments.latent_dist
    decoded = net.decode(moments.mean.float().double()).sample
  variables = {'params': params}
  mean, log_variance = network.apply(variables, images, method='moments')
  latents = moments.mean.float().permute(0, 2, 3, 1).numpy()
  ours = jax.jit(lambda v, z: network.apply(v, z, method='decode'))
  errors = (
    relative(mean, moments.mean),
    relative(log_variance, moments.logvar),
    relative(ours(variables, latents), decoded),
  )
  assert max(errors) < BOUND, errors
  return errors


@pytest.mark.parametrize('gain', [1.0, 0.05])
@pytest.mark.parametrize('change', [{}, {'mid_block_add_attention': False}])
def test_autoencoder_kl(gain, change, tmp_path):
  check_kl(TINY | change, gain, (2, 16, 24, 3), tmp_path)


def test_without_quant_convolutions_in_shards(tmp_path):
  plain = {'use_quant_conv': False, 'use_post_quant_conv': False}
  net = diffusers.AutoencoderKL(**TINY | plain)
  net.save_pretrained(tmp_path / 'shards', max_shard_size='20KB')
  assert len(list((tmp_path / 'shards').glob('*.safetensors'))) > 1
  network, params, _ = load_autoencoder(tmp_path / 'shards')
  images = np.zeros((1, 8, 8, 3), np.float32)
  mean, _ = network.apply({'params': params}, images, method='moments')
  theirs = net.encode(torch.zeros(1, 3, 8, 8)).latent_dist.mean
  assert relative(mean, theirs) < 1e-5
  check_kl(TINY | plain, 1.0, (1, 8, 8, 3), tmp_path)


def test_autoencoder_vq(tmp_path):
  net = diffusers.VQModel(**TINY, num_vq_embeddings=12)
  randomise(net, 1.0).save_pretrained(tmp_path)
  network, params, _ = load_autoencoder(tmp_path)
  images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3))
  images = images.astype(np.float32)
  with torch.no_grad():
    theirs = net(torch.tensor(images).permute(0, 3, 1, 2)).sample
    latents = net.encode(torch.tensor(images).permute(0, 3, 1, 2)).latents
    _, loss, (_, _, indices) = net.quantize(latents)
  ours, found = network.apply({'params': params}, images, method='reconstruct')
  np.testing.assert_array_equal(found.indices.ravel(), indices.numpy())
  assert relative(ours, theirs) < 1e-5
  # Theirs is the codebook loss with a weight of 0.25.
  total = np.mean(0.25 * found.codebook_error + found.commitment)
  np.testing.assert_allclose(total, float(loss), rtol=1e-5)


def test_diffusers_reads_what_is_written(tmp_path):
  network = AutoencoderKL(
    channels=8, channel_mults=(1, 2), num_res_blocks=1, num_groups=4
  )
  params = random_params(network, size=0.3)
  save_autoencoder(tmp_path, network, params)
  theirs = diffusers.AutoencoderKL.from_pretrained(tmp_path)
  images = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3))
  images = images.astype(np.float32)
  with torch.no_grad():
    sample = theirs(torch.tensor(images).permute(0, 3, 1, 2)).sample
  assert relative(network.apply({'params': params}, images), sample) < 1e-5


@pytest.mark.slow
def test_the_whole_of_stable_diffusion(tmp_path):
  print(check_kl(FULL, 1.0, (1, 64, 64, 3), tmp_path))
  print(check_kl(FULL, 0.05, (1, 64, 64, 3), tmp_path))
