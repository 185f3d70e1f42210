"""The U-Net: its size, its shapes, what it depends on, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from nets import (
  assert_same_values_and_grads,
  count,
  forward,
  inputs,
  jit,
  random_params,
  shapes,
  value_and_grads,
)

from jaxdiff.networks import layers
from jaxdiff.networks.unet import UNet

ADM = dict(
  scale_shift_norm=True,
  resblock_updown=True,
  head_channels=64,
  attention_resolutions=(32, 16, 8),
  norm_eps=1e-5,
)


def small(**settings):
  defaults = dict(
    out_channels=1,
    channels=8,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(4,),
  )
  return UNet(**(defaults | settings))


def tiny(**settings):
  """One level: a third of the time to compile, where levels do not matter."""
  return small(**dict(channel_mults=(1,), attention_resolutions=()) | settings)


def test_published_parameter_count():
  """Dhariwal and Nichol 2021: 552.8M at 256; others in test_papers.py."""
  net = UNet(6, 256, (1, 1, 2, 2, 4, 4), **ADM)
  assert count(shapes(net, *inputs(1, 256, 3))) == 552_814_086


@pytest.mark.parametrize('updown', [False, True])
@pytest.mark.parametrize(
  'size, channels, mults',
  [(8, 1, (1, 2)), (28, 2, (1, 2, 2, 2)), (32, 3, (1, 2, 2)), (6, 4, (1,))],
)
def test_output_shape(size, channels, mults, updown):
  net = small(
    out_channels=2 * channels,
    channel_mults=mults,
    attention_resolutions=(size,),
    resblock_updown=updown,
  )
  out, _ = jax.eval_shape(
    net.init_with_output, jax.random.key(0), *inputs(2, size, channels)
  )
  assert out.shape == (2, size, size, 2 * channels)
  assert out.dtype == jnp.float32


def test_not_square():
  net = small(channel_mults=(1, 2, 2), attention_resolutions=(6,))
  xt = jnp.zeros((1, 6, 10, 1))
  out, _ = jax.eval_shape(
    net.init_with_output, jax.random.key(0), xt, jnp.zeros(1)
  )
  assert out.shape == xt.shape


def test_a_new_network_outputs_zero():
  net = tiny(scale_shift_norm=True, num_classes=3)
  out, variables = jit(net.init_with_output)(jax.random.key(3), *inputs())
  params = variables['params']
  assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(params))
  assert float(jnp.std(params['conv_in']['kernel'])) > 0.01
  np.testing.assert_array_equal(out, 0.0)


def test_kernels_have_the_glorot_variance():
  kernel = layers.kernel_init(jax.random.key(0), (3, 3, 40, 60))
  bound = np.sqrt(6 / (9 * 100))
  assert 0.99 * bound < float(jnp.abs(kernel).max()) <= bound
  np.testing.assert_allclose(jnp.var(kernel), bound**2 / 3, rtol=0.03)
  flat = layers.kernel_init(jax.random.key(0), (40, 60))
  np.testing.assert_allclose(jnp.abs(flat).max(), np.sqrt(0.06), rtol=0.01)


@pytest.mark.slow
def test_output_depends_on_every_input_and_not_on_other_examples():
  net = small(num_classes=3)
  xt, t = inputs()
  label = jnp.array([0, 1])
  params = random_params(net, xt, t)
  apply = forward(net)
  out = apply(params, xt, t, {'label': label})

  def changed(*args):
    return np.abs(apply(params, *args) - out).max(axis=(1, 2, 3))

  first = jnp.array([1.0, 0.0])
  pixel = xt.at[0, 0, 0, 0].add(1.0)
  for other in (
    changed(pixel, t, {'label': label}),
    changed(xt, t + 0.001 * first, {'label': label}),
    changed(xt, t, {'label': jnp.array([2, 1])}),
  ):
    assert other[0] > 1e-3 and other[1] < 1e-5

  null = apply(params, xt, t, {'label': jnp.full(2, 3)})
  np.testing.assert_array_equal(apply(params, xt, t), null)
  assert np.isnan(apply(params, xt, t, {'label': jnp.full(2, 4)})).all()


def test_every_parameter_matters():
  net = small(num_classes=1)
  xt, t = inputs()
  args = (xt, t, {'label': jnp.array([0, 1])})
  params = random_params(net, *args)
  _, grads = value_and_grads(net, params, *args)
  grads = flatten_dict(grads, sep='/')
  largest = {name: float(jnp.abs(g).max()) for name, g in grads.items()}
  # Softmax does not see what is added to every key alike.
  unseen = {n for n in largest if n.endswith('attention/k/bias')}
  assert len(unseen) == 4
  assert {n for n, g in largest.items() if g < 1e-5} == unseen


@pytest.mark.parametrize('resolutions', [(), (8,), (2, 4)])
def test_blocks_attend_where_asked_and_in_the_middle(resolutions):
  net = small(channel_mults=(1, 2, 2), attention_resolutions=resolutions)
  names = {name for name in shapes(net, *inputs()) if 'attention' in name}
  levels = [level for level, h in enumerate((8, 4, 2)) if h in resolutions]
  expected = {'middle_attention'}
  expected |= {f'encoder_{level}_0_attention' for level in levels}
  expected |= {
    f'decoder_{level}_{i}_attention' for level in levels for i in (0, 1)
  }
  assert names == expected


@pytest.mark.slow
def test_remat_changes_neither_numbers_nor_names():
  xt, t = inputs()

  def results(remat):
    net = tiny(remat=remat, dropout=0.3)
    params = random_params(net, xt, t)

    def loss(params):
      rngs = {'dropout': jax.random.key(5)}
      out = net.apply({'params': params}, xt, t, train=True, rngs=rngs)
      return jnp.mean(out**2)

    assert ('remat' in str(jax.make_jaxpr(loss)(params))) == remat
    return jit(jax.value_and_grad(loss))(params)

  assert_same_values_and_grads(results(False), results(True))


def test_bfloat16_computes_close_to_float32():
  xt, t = inputs()
  outs = {}
  for dtype in (jnp.float32, jnp.bfloat16):
    net = tiny(dtype=dtype, scale_shift_norm=True)
    params = shapes(net, xt, t)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(params))
    outs[dtype] = forward(net)(random_params(net, xt, t), xt, t)
    assert outs[dtype].dtype == jnp.float32
  error = jnp.std(outs[jnp.bfloat16] - outs[jnp.float32])
  error /= jnp.std(outs[jnp.float32])
  assert 1e-5 < float(error) < 0.05  # not equal: it did compute in bfloat16


def test_dropout_only_while_training():
  xt, t = inputs()
  net = tiny(dropout=0.5)
  params = random_params(net, xt, t)
  train = forward(net, train=True)
  one, same, two = (
    train(params, xt, t, rngs={'dropout': jax.random.key(i)}) for i in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, same)
  assert float(jnp.abs(one - two).max()) > 1e-3
  plain = forward(tiny())(params, xt, t)
  np.testing.assert_array_equal(forward(net)(params, xt, t), plain)


def test_head_channels_sets_the_heads():
  xt, t = inputs()
  params = random_params(tiny(), xt, t)
  by_width = forward(tiny(head_channels=2))(params, xt, t)
  by_number = forward(tiny(num_heads=4))(params, xt, t)  # of 8 channels
  one_head = forward(tiny())(params, xt, t)
  np.testing.assert_array_equal(by_width, by_number)
  assert float(jnp.abs(by_width - one_head).max()) > 1e-4


def test_patch_size_is_the_network_of_the_patches():
  xt, t = inputs(2, 8, 1)
  patched = tiny(patch_size=2)
  plain = tiny(out_channels=4)
  params = random_params(patched, xt, t)
  got = forward(patched)(params, xt, t)
  inside = forward(plain)(params, layers.space_to_depth(xt, 2), t)
  np.testing.assert_allclose(got, layers.depth_to_space(inside, 2), atol=1e-6)


@pytest.mark.parametrize(
  'settings, message',
  [
    (dict(attention_resolutions=(16,)), r'heights \[8, 4\].*got \[16\]'),
    (dict(channel_mults=(1,) * 5, attention_resolutions=()), 'do not fit'),
    (dict(channel_mults=()), 'at least one level'),
    (dict(channel_mults=(1, 0)), 'channel_mults must be at least 1, got 0'),
    (dict(channels=9), 'even dim'),
    (dict(num_res_blocks=0), 'num_res_blocks must be at least 1'),
    (dict(patch_size=3), 'patch_size must divide the height and width'),
    (dict(num_heads=3), 'num_heads must divide the 16 channels'),
    (dict(head_channels=32), 'head_channels must divide'),
    (dict(dropout=1.0), r'dropout must be in \[0, 1\)'),
    (dict(dtype=jnp.float16), 'float32 or bfloat16'),
    (dict(num_classes=0), 'num_classes must be at least 1'),
  ],
)
def test_settings_that_make_no_network(settings, message):
  with pytest.raises(ValueError, match=message):
    shapes(small(**settings), *inputs())


def test_inputs_that_fit_no_network():
  xt, t = inputs()
  with pytest.raises(ValueError, match=r'xt must be \[B, H, W, C\]'):
    shapes(small(), xt[0], t)
  with pytest.raises(ValueError, match=r't \[B\], got'):
    shapes(small(), xt, t[:1])
