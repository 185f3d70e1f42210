import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from exact import SCHEDULES, keys

from jaxdiff import losses, predictions, schedules
from jaxdiff.losses import time_sampling, weightings

KINDS = {
  'x0': predictions.x0,
  'eps': predictions.eps,
  'v': predictions.v,
  'velocity': predictions.velocity,
  'score': predictions.score,
  'edm': predictions.edm(0.5),
  'eps_residual': predictions.eps_residual,
}
WEIGHTINGS = {
  'x0': weightings.x0,
  'simple': weightings.simple,
  'v': weightings.v,
  'velocity': weightings.velocity,
  'clipped_velocity': weightings.clipped_velocity(0.05),
  'truncated_snr': weightings.truncated_snr,
  'min_snr': weightings.min_snr(5.0),
  'p2': weightings.p2(),
  'sigmoid': weightings.sigmoid(-1.0),
  'edm': weightings.edm(0.5),
}
NUM = 64
BATCH = {'x0': jax.random.normal(jax.random.key(7), (NUM, 2, 2, 1))}


def network(kind, schedule):
  """A denoiser that is wrong, always the same one, said in any kind."""

  def apply(params, xt, t, cond, dropout_key=None):
    def one(xt, t):
      alpha, sigma = schedule(t)
      x0 = params * xt + 0.1
      eps = (xt - alpha * x0) / sigma
      return predictions.target(kind, schedule, x0, eps, t)

    return jax.vmap(one)(xt, t)

  return apply


def value(kind, schedule, **options):
  loss = losses.denoising(network(kind, schedule), schedule, kind, **options)
  return loss(0.8, keys(3, NUM), BATCH)[0]


def assert_equal_pairs(pairs):
  """pairs() -> {name: (got, want)}, compiled at once: it is many losses."""
  for name, (got, want) in jax.jit(pairs)().items():
    assert want.min() > 0
    np.testing.assert_allclose(
      got, want, rtol=5e-3, atol=1e-5 * want.max(), err_msg=str(name)
    )


def test_a_clipped_velocity_divides_by_at_least_t_min():
  t = jnp.array([0.01, 0.049, 0.2, 0.9])
  log_snr = schedules.log_snr(schedules.rectified_flow(), t)
  np.testing.assert_allclose(
    weightings.clipped_velocity(0.05)(log_snr),
    1 / np.maximum(t, 0.05) ** 2,
    rtol=1e-4,
  )


def test_simple_is_ddpms():
  # In float64, with the times and the noise read off through x_t itself.
  num_steps = 1000
  schedule = SCHEDULES['ddpm']
  seen = {}

  def apply(params, xt, t, cond, dropout_key):
    seen.update(xt=np.float64(xt), t=np.float64(t))
    return 0.3 * xt

  loss = losses.denoising(
    apply, schedule, predictions.eps, times=time_sampling.grid(num_steps)
  )
  got = loss(None, keys(0, NUM), BATCH)[0]
  product = np.cumprod(1 - np.linspace(1e-4, 0.02, num_steps))
  i = np.rint(seen['t'] * num_steps).astype(int)
  assert i.min() >= 1 and i.max() <= num_steps and len(set(i)) > NUM / 2
  np.testing.assert_allclose(seen['t'] * num_steps, i, rtol=1e-6)
  level = product[i - 1].reshape(-1, 1, 1, 1)
  x0 = np.float64(BATCH['x0'])
  eps = (seen['xt'] - np.sqrt(level) * x0) / np.sqrt(1 - level)
  assert scipy.stats.kstest(eps.ravel(), 'norm').pvalue > 1e-3
  want = np.mean((eps - 0.3 * seen['xt']) ** 2, axis=(1, 2, 3))
  np.testing.assert_allclose(got, want, rtol=1e-4)


# Every kind beside another one.
NEXT = dict(zip(KINDS, [*list(KINDS)[1:], 'x0'], strict=True))


@pytest.mark.parametrize('name', ['cosine', 'rectified_flow', 've'])
def test_space_is_apart_from_the_kind(name):
  schedule = getattr(schedules, name)()
  assert_equal_pairs(
    lambda: {
      (kind, space): (
        value(KINDS[kind], schedule, space=KINDS[space]),
        value(KINDS[space], schedule),
      )
      for kind, space in NEXT.items()
    }
  )


@pytest.mark.parametrize('per_log_snr', [False, True])
def test_weighting_does_not_depend_on_the_kind(per_log_snr):
  options = {
    'per_log_snr': per_log_snr,
    'times': time_sampling.continuous(0.01),
  }
  of = lambda kind, weighting: value(
    kind, schedules.linear_vp(), weighting=weighting, **options
  )
  assert_equal_pairs(
    lambda: {
      (name, kind): (
        of(KINDS[kind], weighting),
        of(KINDS[NEXT[kind]], weighting),
      )
      for (name, weighting), kind in zip(
        WEIGHTINGS.items(), [*KINDS, *KINDS], strict=False
      )
    }
  )


def test_weighting_by_its_other_name():
  # And an error other than the square is one in the units of the space.
  names = [
    (weightings.x0, predictions.x0, 'cosine'),
    (weightings.simple, predictions.eps, 'cosine'),
    (weightings.v, predictions.v, 'cosine'),
    (weightings.edm(0.5), predictions.edm(0.5), 'edm'),
    (weightings.edm(0.5), predictions.edm(0.5), 'cosine'),
    (weightings.velocity, predictions.velocity, 'rectified_flow'),
    (weightings.min_snr(np.inf), predictions.eps, 'cosine'),
    (weightings.p2(0.0), predictions.eps, 'cosine'),
    (weightings.edm(1.0), predictions.v, 'cosine'),
  ]

  def pairs():
    result = {}
    for n, (weighting, space, name) in enumerate(names):
      schedule = getattr(schedules, name)()
      got = value(predictions.x0, schedule, weighting=weighting, error=jnp.abs)
      result[n] = got, value(space, schedule, error=jnp.abs)
    return result

  assert_equal_pairs(pairs)


def test_weightings_at_their_landmarks():
  snr = np.array([1e-3, 0.2, 1.0, 7.0, 500.0])
  log_snr = np.log(snr)
  for name, want in {
    'truncated_snr': np.where(snr < 1, 1, snr),
    'min_snr': np.where(snr > 5, 5, snr),
    'p2': snr / (1 + snr),
    'sigmoid': snr / (1 + snr * np.e),
    'edm': (1 / snr + 0.25) / (0.25 / snr),
  }.items():
    got = WEIGHTINGS[name](log_snr)
    np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=name)


def test_likelihood_weighting_is_g_squared_on_the_score():
  # linear_vp: g(t)^2 = beta(t).
  schedule, t = schedules.linear_vp(0.1, 20.0), jnp.float32(0.4)
  weight = losses.weight(
    schedule,
    predictions.score,
    weighting=weightings.simple,
    per_log_snr=True,
  )
  np.testing.assert_allclose(weight(t), 0.1 + 0.4 * 19.9, rtol=1e-4)


@pytest.mark.parametrize('name', WEIGHTINGS)
def test_weight_is_finite_where_nothing_of_the_data_is_left(name):
  betas = schedules.zero_terminal_snr(schedules.linear_betas(100))
  one = jnp.float32(1)
  for schedule in (schedules.from_betas(betas), schedules.rectified_flow()):
    for kind in (predictions.x0, predictions.eps, predictions.v):
      weight = losses.weight(schedule, kind, weighting=WEIGHTINGS[name])
      assert np.isfinite(weight(one))
      if kind is predictions.eps and name in ('simple', 'min_snr'):
        np.testing.assert_allclose(weight(one), 1.0, rtol=1e-5)


def test_space_and_weighting_are_one_choice():
  with pytest.raises(ValueError, match='space or weighting, not both'):
    losses.denoising(
      None,
      SCHEDULES['cosine'],
      predictions.v,
      space=predictions.eps,
      weighting=weightings.v,
    )


def test_errors():
  x = np.linspace(-3, 3, 25)
  huber, smooth = losses.huber(0.7)(x), losses.pseudo_huber(0.7)(x)
  np.testing.assert_allclose(huber / 2, scipy.special.huber(0.7, x), rtol=1e-5)
  want = scipy.special.pseudo_huber(0.7, x)
  np.testing.assert_allclose(smooth / 2, want, atol=1e-6)


def test_offset_noise_moves_whole_channels():
  noise = lambda key: losses.offset_noise(0.5)(key, (4, 4, 3))
  eps = jax.vmap(noise)(keys(0, 4000))
  means = np.array(eps).mean(axis=(1, 2))
  std = np.sqrt(0.25 + 1 / 16)
  assert scipy.stats.kstest(means.ravel() / std, 'norm').pvalue > 1e-3
  assert abs(np.corrcoef(means.T)[0, 1]) < 0.1
  within = eps - means[:, None, None, :]
  np.testing.assert_allclose(np.std(within), np.sqrt(15 / 16), rtol=0.01)


def test_noise_of_a_loss_is_the_one_given():
  # eps = 0 always, and a network that says so.
  loss = losses.denoising(
    lambda params, xt, t, cond, dropout_key: jnp.zeros_like(xt),
    SCHEDULES['cosine'],
    predictions.eps,
    noise=lambda key, shape: jnp.zeros(shape),
  )
  np.testing.assert_array_equal(loss(None, keys(0, NUM), BATCH)[0], 0)


def test_stratified_times_lower_the_variance_of_the_loss():
  def spread(positions):
    def mean(key):
      u = positions(key, jnp.arange(NUM), NUM)
      loss = losses.denoising(
        network(predictions.v, SCHEDULES['cosine']),
        SCHEDULES['cosine'],
        predictions.v,
      )
      return loss(0.8, keys(5, NUM), {**BATCH, 'u': u})[0].mean()

    return np.std(jax.jit(jax.vmap(mean))(keys(2, 200)))

  assert spread(time_sampling.stratified) < 0.5 * spread(
    time_sampling.independent
  )
