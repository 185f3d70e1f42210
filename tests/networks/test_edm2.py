"""EDM2's U-Net: its size, and that its layers keep the size of a vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from nets import (
  assert_same_values_and_grads,
  count,
  forward,
  jit,
  normal,
  random_params,
  shapes,
  value_and_grads,
  without_gradient,
)

from jaxdiff.networks import edm2
from jaxdiff.networks.edm2 import EDM2


def tiny(**settings):
  small = {
    'channels': 64,
    'channel_mults': (1,),
    'num_res_blocks': 1,
    'attention_resolutions': (4,),
    'num_classes': 3,
  }
  return EDM2(2, **small | settings)


def inputs(size=4, batch=2):
  cond = {'label': jnp.arange(batch) % 3}
  return normal(batch, size, size, 1), jnp.linspace(0.1, 0.9, batch), cond


def test_published_parameter_count():
  """Karras et al. 2024, table 2, XXL; XS and S are in test_papers.py."""
  net = EDM2(4, 448, num_classes=1000)
  number = count(shapes(net, jnp.zeros((1, 64, 64, 4)), jnp.zeros(1)))
  assert abs(number - 1523e6) < 0.003 * 1523e6


def size(x):
  return float(jnp.sqrt(jnp.mean(x**2)))


def test_layers_keep_the_size_of_what_they_are_given():
  a, b = normal(4, 8, 8, 64), normal(4, 8, 8, 128, seed=2)
  assert size(edm2.silu(a)) == pytest.approx(1, rel=0.02)
  assert size(edm2.add(a, b[..., :64], 0.3)) == pytest.approx(1, rel=0.02)
  # Both parts of a concatenation weigh the same.
  joined = edm2.concatenate(a, b)
  parts = [float(jnp.sum(x**2)) for x in jnp.split(joined, [64], axis=-1)]
  assert parts[0] == pytest.approx(parts[1], rel=0.05)
  assert size(joined) == pytest.approx(1, rel=0.02)
  conv = edm2.Conv(96, jnp.float32)
  params = conv.init(jax.random.key(0), a)
  # The padding of zeros takes some of it at the rim.
  inside = conv.apply(params, a)[:, 1:-1, 1:-1]
  assert size(inside) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize('decoder', [False, True])
def test_a_block_keeps_the_size_of_its_map(decoder):
  x, emb = 3 * normal(2, 8, 8, 64), normal(2, 32)
  block = edm2.Block(64, True, 0.0, True, jnp.float32, None, decoder)
  params = jit(block.init)(jax.random.key(0), x, emb)
  out = jit(block.apply)(params, x, emb)
  # The encoder norms its input, and the decoder keeps the 3.
  assert size(out) == pytest.approx(3 if decoder else 1, rel=0.35)


def test_levels_are_halved_and_doubled_back():
  net = tiny(channel_mults=(1, 2), attention_resolutions=(3,))
  args = normal(1, 5, 6, 3), jnp.array([0.5])
  out, params = jax.eval_shape(net.init_with_output, jax.random.key(0), *args)
  assert out.shape == (1, 5, 6, 2)
  assert {'down_1', 'up_1'} <= set(params['params'])
  # The lower level attends, and so does the middle.
  paths = flatten_dict(params['params'])
  attending = {path[0] for path in paths if 'qkv' in path}
  assert attending == {'encoder_1_0', 'middle_0', 'decoder_1_0', 'decoder_1_1'}


@pytest.fixture(scope='module')
def network():
  net = tiny()
  args = inputs()
  params = random_params(net, *args)
  return params, args, value_and_grads(net, params, *args)


@pytest.mark.slow
def test_gradients_reach_every_parameter_and_are_those_of_remat(network):
  params, args, plain = network
  assert without_gradient(plain[1]) == set()
  remat = value_and_grads(tiny(remat=True), params, *args)
  assert_same_values_and_grads(plain, remat)


def test_the_length_of_a_kernel_does_not_matter(network):
  params, args, (_, grads) = network
  longer = jax.tree_util.tree_map_with_path(
    lambda path, x: 7 * x if path[-1].key == 'kernel' else x, params
  )
  out, other = (forward(tiny())(p, *args) for p in (params, longer))
  np.testing.assert_allclose(other, out, rtol=0.02, atol=1e-3)
  kernel, grad = (
    tree['encoder_0_0']['conv_0']['kernel'] for tree in (params, grads)
  )
  # So its gradient is at right angles to it.
  inner = jnp.sum(kernel * grad, axis=(0, 1, 2))
  lengths = jnp.sqrt(
    jnp.sum(kernel**2, (0, 1, 2)) * jnp.sum(grad**2, (0, 1, 2))
  )
  assert float(jnp.abs(inner / lengths).max()) < 0.02


def test_stored_kernels_are_normed_for_each_output():
  kernel = edm2.constrain(5 * normal(3, 3, 8, 4))
  np.testing.assert_allclose(jnp.mean(kernel**2, axis=(0, 1, 2)), 1, rtol=1e-3)
  np.testing.assert_allclose(edm2.constrain(kernel), kernel, rtol=1e-3)


def test_a_new_network_outputs_zero_and_no_condition_is_the_null_label(network):
  net = tiny()
  xt, t, cond = inputs()
  new = jit(net.init)(jax.random.key(0), xt, t, cond)['params']
  apply = forward(net)
  np.testing.assert_array_equal(apply(new, xt, t, cond), 0.0)
  params = network[0]
  null = apply(params, xt, t, {'label': jnp.full(2, 3)})
  np.testing.assert_array_equal(apply(params, xt, t), null)
  assert float(jnp.abs(null - apply(params, xt, t, cond)).max()) > 1e-3
  assert np.isnan(apply(params, xt, t, {'label': jnp.full(2, 4)})).all()


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'channels': 32}, 'multiple of 64'),
    ({'channel_mults': ()}, 'at least one level'),
    ({'channel_mults': (1, 1, 1, 1)}, 'shorten channel_mults'),
    ({'attention_resolutions': (3,)}, 'must be among the heights'),
    ({'dropout': 1.0}, 'dropout must be in'),
  ],
)
def test_settings_that_make_no_network(settings, message):
  with pytest.raises(ValueError, match=message):
    shapes(tiny(**settings), *inputs())
