"""DDPM++ and NCSN++, the U-Nets of EDM."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from nets import inputs, jit, normal, random_params

from jaxdiff.networks import fourier, smooth
from jaxdiff.networks.attention import AttentionBlock
from jaxdiff.networks.unet import UNet

CIFAR = dict(
  channels=128,
  channel_mults=(2, 2, 2),
  num_res_blocks=4,
  attention_resolutions=(16,),
  resblock_updown=True,
)
SMALL = dict(
  channels=8,
  channel_mults=(1, 2),
  num_res_blocks=1,
  attention_resolutions=(4,),
  resblock_updown=True,
)


def count(**settings):
  xt, t = jnp.zeros((1, 32, 32, 3)), jnp.zeros(1)
  net = UNet(3, **CIFAR | settings)
  shapes = jax.eval_shape(net.init, jax.random.key(0), xt, t)
  return sum(x.size for x in jax.tree.leaves(shapes))


@pytest.mark.slow
def test_published_sizes():
  """The authors' count has nine numbers of augmentation as well."""
  assert count(variant='ddpm++') == 55_733_891 - 9 * 128
  # Frequencies of time, which they do not count.
  ncsn = count(variant='ncsn++')
  assert ncsn == 56_397_827 - 9 * 256 + 128


@pytest.mark.slow
@pytest.mark.parametrize('variant', ['ddpm++', 'ncsn++'])
def test_sums_keep_their_size(variant):
  """Of two maps of unit variance the sum, divided by sqrt(2), has it too."""
  net = UNet(1, variant=variant, num_classes=3, **SMALL)
  xt, t = inputs()
  params = random_params(net, xt, t)
  flat = flatten_dict(params)
  attends = {path[0] for path in flat if path[0].endswith('_attention')}
  assert attends == {
    'encoder_1_0_attention',
    'middle_attention',
    'decoder_1_1_attention',
  }
  assert flat['down_1', 'shortcut', 'kernel'].shape == (8, 8)
  label = lambda n: {'label': jnp.full(2, n)}
  run = jit(lambda params, cond: net.apply({'params': params}, xt, t, cond))
  null = run(params, label(3))
  np.testing.assert_array_equal(null, jit(net.apply)({'params': params}, xt, t))
  assert np.abs(run(params, label(1)) - null).max() > 1e-3

  zero = jax.tree.map(jnp.zeros_like, params['middle_0']['conv_1'])
  block = {**params['middle_0'], 'conv_1': zero}
  from jaxdiff.networks.layers import ResidualBlock

  settings = dict(
    features=16,
    dropout=0.0,
    scale_shift_norm=False,
    resample=None,
    deterministic=True,
    norm_eps=1e-6,
    dtype=jnp.float32,
    unit_sum=True,
  )
  h, emb = normal(2, 4, 4, 16), normal(2, 32)
  out = ResidualBlock(**settings).apply({'params': block}, h, emb)
  np.testing.assert_allclose(out, h / np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize(('unit_sum', 'variance'), [(False, 1.0), (True, 0.1)])
def test_attention_of_score_sde_starts_with_a_tenth_of_the_variance(
  unit_sum, variance
):
  block = AttentionBlock(1, 1e-6, jnp.float32, unit_sum=unit_sum)
  params = block.init(jax.random.key(0), jnp.zeros((1, 2, 2, 64)))['params']
  glorot = 2 / (64 + 64)
  for name in ('q', 'k', 'v'):
    found = np.var(params['attention'][name]['kernel'])
    assert found == pytest.approx(variance * glorot, rel=0.1)
  assert not params['attention']['out']['kernel'].any()


@pytest.mark.slow
def test_the_frequencies_of_time_are_not_trained():
  net = UNet(1, variant='ncsn++', **SMALL)
  xt, t = inputs()
  params = random_params(net, xt, t)
  loss = lambda params: jnp.sum(net.apply({'params': params}, xt, t) ** 2)
  grads = jit(jax.grad(loss))(params)
  assert not np.any(grads['time']['frequencies'])
  assert np.any(grads['side_1']['kernel'])


def test_the_smooth_filter_is_a_convolution():
  x = normal(2, 6, 8, 3)
  f = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
  kernel = jnp.tile(f[:, :, None, None], (1, 1, 1, 3))
  dims = ('NHWC', 'HWIO', 'NHWC')
  for pad in (0, 1):
    wanted = jax.lax.conv_general_dilated(
      x, kernel, (2, 2), [(pad, pad)] * 2, (1, 1), (1, 1), dims, 3
    )
    np.testing.assert_allclose(smooth.downsample(x, pad), wanted, atol=1e-6)
  # Doubling is the transpose, times 4.
  y = smooth.upsample(x, (12, 16))
  z = normal(2, 12, 16, 3, seed=2)
  inner = jnp.vdot(smooth.downsample(z), x)
  np.testing.assert_allclose(jnp.vdot(z, y), 4 * inner, rtol=1e-5)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'variant': 'other'}, 'variant must be'),
    ({'variant': 'ncsn++', 'resblock_updown': False}, 'needs resblock_updown'),
  ],
)
def test_what_does_not_fit_is_refused(change, message):
  net = UNet(1, **SMALL | change)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(net.init, jax.random.key(0), *inputs())


def test_fourier_features_tell_neighbouring_pixel_values_apart():
  values = jnp.arange(256.0) / 127.5 - 1
  features = fourier.of_pixels(values[None, None, :, None], (6, 7))[0, 0]
  assert features.shape == (256, 4)
  # 2 pi 2^6 2 / 255 is half a turn and a bit: sines and cosines change sign.
  steps = jnp.abs(features[1:, [0, 2]] - features[:-1, [0, 2]]).max(axis=1)
  assert steps.min() > 1
  np.testing.assert_allclose(jnp.square(features[:, ::2]).sum(1), 1, atol=1e-5)


def test_a_unet_reads_the_features_of_pixels():
  net = UNet(
    out_channels=1,
    channels=4,
    channel_mults=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
    pixel_exponents=(6, 7),
  )
  shapes = jax.eval_shape(
    net.init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)), jnp.zeros(1)
  )['params']
  assert shapes['conv_in']['kernel'].shape == (3, 3, 3 * 5, 4)
