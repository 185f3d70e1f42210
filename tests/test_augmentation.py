"""Augmentation: what it does to an image, how often, and what it says of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxdiff import augmentation, models
from jaxdiff import config as c

IDENTITY = jnp.eye(2)
ZEROS = jnp.zeros((2, 9))
BATCH = {'x0': jnp.ones((2, *tiny.SPEC.shape)), 'cond': {}}
transformed = jax.jit(augmentation.transformed)


def image(height=9, width=9):
  x = np.random.default_rng(0).uniform(-1, 1, (height, width, 2))
  return jnp.asarray(x, jnp.float32)


def rotated(x, angle):
  cos, sin = np.cos(angle), np.sin(angle)
  matrix = jnp.array([[cos, -sin], [sin, cos]])
  return transformed(x, matrix, jnp.zeros(2))


def test_the_identity_changes_no_bit():
  x = image(8, 11)
  same = augmentation.transformed(x, IDENTITY, jnp.zeros(2))
  np.testing.assert_array_equal(same, x)


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_quarter_turns_are_exact(quarters):
  x = image()
  turned = rotated(x, quarters * np.pi / 2)
  # rot90 turns from the first axis, down, to the second, to the right.
  np.testing.assert_allclose(turned, jnp.rot90(x, -quarters), atol=1e-5)


def test_a_shift_moves_and_reflects_at_the_border():
  x = image()
  moved = transformed(x, IDENTITY, jnp.array([2.0, -1.0]))
  padded = np.pad(x, ((2, 2), (2, 2), (0, 0)), mode='reflect')
  np.testing.assert_allclose(moved, padded[3:12, 0:9], atol=1e-6)


def test_there_and_back():
  """Smooth images survive: cubic interpolation has an error of order h^3."""
  errors = []
  for size in (32, 64):
    grid = jnp.linspace(-1, 1, size)
    hump = jnp.exp(-8 * (grid[:, None] ** 2 + (grid[None] - 0.2) ** 2))
    back = rotated(rotated(hump[..., None], 0.5), -0.5)[..., 0]
    inner = np.s_[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4]
    errors.append(float(jnp.abs(back - hump)[inner].max()))
  assert errors[1] < errors[0] / 6 < 1e-2


@pytest.mark.parametrize('size', [1, 2])
def test_an_image_of_one_or_two_pixels(key, size):
  x = image(size, size)
  out, _ = jax.jit(lambda k: augmentation.geometric(k, x, 1.0))(key)
  assert out.shape == x.shape and bool(jnp.isfinite(out).all())


def test_without_probability_images_are_mirrored_alone(key):
  x = image()
  keys = jax.random.split(key, 400)
  geometric = lambda k: augmentation.geometric(k, x, 0.0)
  out, labels = jax.jit(jax.vmap(geometric))(keys)
  assert not labels[:, 1:].any()
  mirrored = labels[:, 0] == 1
  assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / 20
  wanted = jnp.where(mirrored[:, None, None, None], x[None, :, ::-1], x[None])
  np.testing.assert_array_equal(out, wanted)


def test_each_is_done_as_often_as_asked_and_said(key):
  num, probability = 20_000, 0.12
  x = image(4, 4)
  keys = jax.random.split(key, num)
  geometric = lambda k: augmentation.geometric(k, x, probability)[1]
  labels = np.asarray(jax.jit(jax.vmap(geometric))(keys))
  done = labels[:, [1, 2, 4, 5, 7]] != 0
  wanted = probability * np.array([0.5, 1, 1, 1, 1])
  std = np.sqrt(wanted * (1 - wanted) / num)
  assert np.all(abs(done.mean(0) - wanted) < 5 * std)
  # Half of the squeezes are along the rows.
  squeezed = labels[done[:, 3]][:, [5, 6]]
  slanted = squeezed[:, 1] != 0
  assert abs(slanted.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(squeezed))
  # On their own: the correlations are those of independent coins.
  correlations = np.corrcoef(done.T) - np.eye(5)
  assert np.all(abs(correlations) < 5 / np.sqrt(num))
  # A scale, a squeeze and a translation are normal of unit variance.
  for columns in ([2], [5, 6], [7, 8]):
    values = labels[(labels[:, columns] != 0).any(1)][:, columns]
    assert (values**2).sum(1).mean() == pytest.approx(
      2 if columns == [7, 8] else 1, rel=0.15
    )


def test_labels_say_how_to_undo_a_rotation_and_a_scale(key):
  """The labels and the image are of one transformation."""
  grid = jnp.linspace(-1, 1, 48)
  hump = jnp.exp(-20 * ((grid[:, None] - 0.3) ** 2 + (grid[None] + 0.1) ** 2))
  x = hump[..., None]
  seen, geometric = 0, jax.jit(lambda k: augmentation.geometric(k, x, 0.3))
  for k in jax.random.split(key, 60):
    out, labels = geometric(k)
    mirrored, flipped, a, cos, sin, c0, c1, d, e = map(float, labels)
    if c0 or c1 or not (a or sin) or d or e or abs(a) > 1.5:
      continue
    seen += 1
    angle = np.arctan2(sin, cos + 1)
    back = 2 ** (-0.2 * a) * jnp.array(
      [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    )
    undone = transformed(out, back, jnp.zeros(2))
    undone = undone[::-1] if flipped else undone
    undone = undone[:, ::-1] if mirrored else undone
    inner = np.s_[12:36, 12:36]
    np.testing.assert_allclose(undone[inner], x[inner], atol=0.02)
  assert seen > 5


def test_the_network_is_told_in_training_and_reads_zeros_without():
  config = tiny.changed(tiny.config, data={'augment': 0.5})
  model = models.make(config, tiny.SPEC)
  params = tiny.random_params(config)
  assert params['augment_labels']['kernel'].shape == (9, 4)
  xt, t = jnp.ones((2, *tiny.SPEC.shape)), jnp.full(2, 0.5)
  denoise = jax.jit(lambda cond: model.denoiser(params, cond)(xt, t))
  plain = denoise({})
  zeros = denoise({'augment_labels': ZEROS})
  np.testing.assert_allclose(plain, zeros, rtol=1e-6)
  told = denoise({'augment_labels': ZEROS.at[:, 2].set(1.0)})
  assert float(jnp.abs(told - plain).max()) > 1e-3

  keys = jax.random.split(jax.random.key(0), 2)
  grads = jax.jit(jax.grad(lambda p: model.loss(p, keys, BATCH)[0].sum()))
  assert grads(params)['augment_labels']['kernel'].any()


def test_without_it_the_parameters_are_those_of_before():
  assert 'augment_labels' not in tiny.abstract_params(tiny.config)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'data': {'flip': True}}, 'augment mirrors images itself: no --data.flip'),
    ({'latent': {'autoencoder': 'runs/a'}}, 'for images, not for latents'),
    ({'data': {'augment': 1.5}}, r'--data\.augment must be in \[0, 1\]'),
  ],
)
def test_what_does_not_go_with_it_is_refused(change, message):
  change = {**change, 'data': {'augment': 0.1} | change.get('data', {})}
  if 'latent' in change:
    change['sampling'] = {'threshold': 'none'}
  with pytest.raises(ValueError, match=message):
    tiny.changed(tiny.config, **change)


def test_a_network_that_is_not_told_is_refused():
  network = c.Custom(name='jaxdiff.networks.mlp:MLP(width=8)')
  config = dataclasses.replace(tiny.config, network=network)
  config = tiny.changed(config, data={'augment': 0.1})
  with pytest.raises(ValueError, match='--data.augment needs a network with a'):
    models.make(config, tiny.SPEC)
