"""The families of benchmarks.families against closed forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from benchmarks.families import __main__ as families
from benchmarks.families import flow, gan, vae
from benchmarks.families.nets import Perceptron
from jaxdiff.data import Dataset


@pytest.mark.parametrize(
  ('shape', 'network'),
  [
    ((2,), flow.Flow(8, 3)),
    pytest.param((4, 4, 1), flow.Flow(8, 2, square=4), marks=pytest.mark.slow),
  ],
)
def test_a_flow_is_inverted_and_its_determinant_is_the_jacobians(
  shape, network
):
  family = flow.make(shape, network)
  params = family.init(jax.random.key(0))
  # Away from the start, where all couplings are the identity.
  params = jax.tree.map(
    lambda p: p + 0.1 * jax.random.normal(jax.random.key(1), p.shape), params
  )
  keys = jax.random.split(jax.random.key(2), 3)
  x = jnp.clip(jax.jit(family.sample)(params, keys), -0.99, 0.99)
  apply = jax.jit(lambda x: network.apply({'params': params}, x))
  z, log_det = apply(x)
  inverse = lambda z: network.apply({'params': params}, z, method='inverse')
  np.testing.assert_allclose(jax.jit(inverse)(z), x, atol=1e-5)

  one = jax.jacobian(lambda x: apply(x[None])[0].ravel())
  jacobian = jax.jit(jax.vmap(one))(x)
  jacobian = jacobian.reshape(3, x[0].size, x[0].size)
  exact = jnp.linalg.slogdet(jacobian)[1]
  np.testing.assert_allclose(log_det, exact, atol=1e-4)
  log_p = jnp.sum(norm.logpdf(z.reshape(3, -1)), axis=1) + exact
  found = jax.jit(family.nats)(params, keys, x)
  np.testing.assert_allclose(found, -log_p, rtol=1e-5)


class Slope(nn.Module):
  """x -> w x, one number."""

  @nn.compact
  def __call__(self, x):
    return x * self.param('w', nn.initializers.constant(0.5), ())


def test_each_network_of_a_gan_is_trained_by_its_own_term():
  family = gan.make((1,), Slope(), Slope(), latent=1, r1=2.0)
  params = {'G': {'w': jnp.float32(0.3)}, 'D': {'w': jnp.float32(0.7)}}
  keys, x = jax.random.split(jax.random.key(0), 4), jnp.ones((4, 1))
  mean = lambda p: family.loss(p, jax.random.clone(keys), {'x0': x})[0].mean()
  found = jax.grad(mean)(params)

  z = jax.vmap(lambda key: jax.random.normal(key, (1,)))(keys)[:, 0]
  fools = lambda g: jax.nn.softplus(-0.7 * g * z).mean()
  tells = lambda d: (
    jax.nn.softplus(d * 0.3 * z).mean() + jax.nn.softplus(-d) + d**2
  )
  np.testing.assert_allclose(found['G']['w'], jax.grad(fools)(0.3), rtol=1e-5)
  np.testing.assert_allclose(found['D']['w'], jax.grad(tells)(0.7), rtol=1e-5)


def test_the_bound_of_a_vae_that_ignores_its_latent_is_the_likelihood():
  family = vae.make((2,), Perceptron(2, 4), Perceptron(2, 4), 1, noise=True)
  params = jax.tree.map(jnp.zeros_like, family.init(jax.random.key(0)))
  x = jnp.array([[0.5, -1.0], [2.0, 0.0]])
  keys = jax.random.split(jax.random.key(1), 2)
  # q = N(0, 1) is the prior and p(x | z) = N(0, I) for every z.
  exact = -norm.logpdf(x).sum(axis=1)
  np.testing.assert_allclose(family.nats(params, keys, x), exact, rtol=1e-6)


@pytest.mark.parametrize(
  ('flag', 'value'),
  [
    ('num', 1),
    ('num', 3),
    ('seeds', ()),
    ('seeds', (1, 1)),
    ('seeds', (-1,)),
    ('point_minutes', 0.0),
    ('point_minutes', -1.0),
    ('image_minutes', float('nan')),
    ('image_minutes', float('inf')),
  ],
)
def test_options_out_of_range_are_refused(flag, value):
  with pytest.raises(ValueError, match='--' + flag.replace('_', '-')):
    families.Options(**{flag: value})


def dataset(modality, shape, size=8):
  kind = np.uint8 if modality == 'image' else np.float32
  gather = lambda indices: {'x0': np.zeros((len(indices), *shape), kind)}
  return lambda name, split: Dataset(
    name=name,
    split=split,
    modality=modality,
    size=size,
    shape=shape,
    num_classes=None,
    gather=gather,
  )


POINTS, IMAGES = dataset('points', (2,)), dataset('image', (8, 8, 1))


@pytest.mark.parametrize(
  ('build', 'data', 'num'),
  [
    (families.cases.points, POINTS, 50_000),
    (families.cases.images, dataset('image', (28, 28, 1)), 270_000),
  ],
)
def test_families_have_about_equally_many_parameters(build, data, num):
  case = build(data('set', 'train'), data('set', 'test'))
  for name, make in case.families.items():
    family = make()
    params = jax.eval_shape(family.init, jax.random.key(0))
    size = sum(x.size for x in jax.tree.leaves(params))
    assert size == pytest.approx(num, rel=0.1), name
    keys = jax.random.split(jax.random.key(1), 3)
    drawn = jax.eval_shape(family.sample, params, keys)
    assert drawn.shape == (3, *case.train.shape), name


@pytest.fixture
def run(monkeypatch, tmp_path):
  """Runs the families on these data, with every computation stubbed."""
  trained = []

  def main(points=POINTS, images=IMAGES, **options):
    made = {'points': points, 'images': images}
    load = lambda name, split: made[name](name, split)
    monkeypatch.setattr(families.data, 'load', load)
    settings = {'points': 'points', 'images': 'images', 'num': 4}
    settings |= {'out': str(tmp_path / 'out'), **options}
    families.main(families.Options(**settings))
    return trained

  def result(case, family, minutes, options, score):
    trained.append(minutes)
    spread = {'mean': 1.0, 'std': None}
    found = dict.fromkeys(('distance', 'precision', 'recall'), spread)
    found |= {'parameters': 3, 'steps': 4, 'seconds_per_sample': 0.1}
    kind = np.zeros((options.num, *case.train.shape), np.float32)
    return found, kind

  monkeypatch.setattr(families, 'result', result)
  monkeypatch.setattr(families.extractors, 'load', lambda name: name)
  monkeypatch.setattr(families.extractors, 'check', lambda *_: None)
  for name in ('distance_of_points', 'distance_of_images'):
    monkeypatch.setattr(families.measure, name, lambda *_: None)
  for make in (gan, vae, flow, families.cases.diffusion):
    monkeypatch.setattr(make, 'make', lambda *_, **__: None)
  monkeypatch.setattr(families.figure, 'draw', lambda *_: None)
  return main


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'points': dataset('points', (3,))}, r'--points must .*shape \(3,\)'),
    ({'points': IMAGES}, '--points must be a data set of points'),
    ({'images': POINTS}, '--images must be a data set of images'),
    ({'images': dataset('image', (10, 8, 1))}, r'--images must .*\(10, 8, 1\)'),
    ({'images': dataset('image', (8, 8, 1), 3)}, '--images needs 4 examples'),
  ],
)
def test_data_that_do_not_fit_are_refused_before_training(run, wrong, message):
  with pytest.raises(ValueError, match=message):
    run(**wrong)


def test_features_and_the_folder_are_checked_before_training(
  run, tmp_path, monkeypatch
):
  (tmp_path / 'file').write_text('')
  monkeypatch.setattr(families, 'result', lambda *_: pytest.fail('trained'))
  with pytest.raises(FileExistsError, match='file is a file'):
    run(out=str(tmp_path / 'file'))
  monkeypatch.undo()
  made = {'points': POINTS, 'images': IMAGES}
  load = lambda name, split: made[name](name, split)
  monkeypatch.setattr(families.data, 'load', load)
  monkeypatch.setattr(families, 'result', lambda *_: pytest.fail('trained'))
  options = families.Options(
    points='points', images='images', features='classifier:none', out='out'
  )
  with pytest.raises((ValueError, OSError), match='none'):
    families.main(options)


def test_kept_results_are_read_and_damaged_ones_are_named(run, tmp_path):
  assert len(run()) == 8
  table = (tmp_path / 'out' / 'families.md').read_text()
  file = tmp_path / 'out' / 'points_VAE.json'
  file.unlink()
  assert len(run()) == 9  # that one alone again
  assert (tmp_path / 'out' / 'families.md').read_text() == table
  with pytest.raises(
    ValueError, match=r'points_GAN\.json was made with --num 4'
  ):
    run(num=5)
  whole = file.read_text()
  for text in ('{', '{}', '[]', 'null', '', whole.replace('"mean"', '"x"')):
    file.write_text(text)
    with pytest.raises(ValueError, match=r'points_VAE\.json is damaged'):
      run()
  file.write_text(whole)
  np.savez(file.with_suffix('.npz'), x=np.zeros((4, 3)))
  with pytest.raises(ValueError, match=r'points_VAE\.npz has samples \(4, 3\)'):
    run()
  file.with_suffix('.npz').write_bytes(b'cut')
  with pytest.raises(
    ValueError, match=r'points_VAE\.npz is missing or damaged'
  ):
    run()
