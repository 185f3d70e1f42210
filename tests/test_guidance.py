import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import SCHEDULES, gaussian_denoiser, keys, mixture_denoiser

from jaxdiff import guidance, samplers, schedules
from jaxdiff.schedules import rectified_flow

MEANS, STD = (-0.6, 0.9), 0.4
LEVELS = SCHEDULES | {'ve': schedules.ve(0.01, 20.0)}


def pair(schedule):
  """Of an even mixture of two normals: E[x0 | xt, first], and E[x0 | xt]."""
  cond = gaussian_denoiser(schedule, MEANS[0], STD)
  return cond, mixture_denoiser(schedule, MEANS, STD)


def log_normal(schedule, mean, xt, t):
  """log p(xt) of data N(mean, STD^2) in one dimension, up to a constant."""
  alpha, sigma = schedule(t)
  var = (alpha * STD) ** 2 + sigma**2
  return -0.5 * (xt - alpha * mean) ** 2 / var


def log_first(schedule, xt, t):
  """log p(first | xt), [B], of data [B, 1]."""
  both = [log_normal(schedule, mean, xt[:, 0], t) for mean in MEANS]
  return jax.nn.log_softmax(jnp.stack(both, -1))[:, 0]


def noisy(schedule, num=60):
  """Places and times, all over both."""
  t = jnp.linspace(0.02, 0.98, num)
  alpha, sigma = schedule(t)
  spread = jnp.tile(jnp.linspace(-2.0, 2.0, 12), num // 12)
  return (spread * (alpha + sigma))[:, None], t


@pytest.mark.parametrize('scale', [0.0, 1.0, 3.5])
@pytest.mark.parametrize('name', ['cosine', 'ddpm', 've'])
def test_classifier_free_has_the_score_of_the_tilted_density(name, scale):
  schedule = LEVELS[name]
  cond, uncond = pair(schedule)

  def log_density(xt, t):
    """log of p(xt)^(1 - scale) p(xt | first)^scale."""
    both = jnp.stack([log_normal(schedule, m, xt, t) for m in MEANS])
    plain = jax.nn.logsumexp(both)
    return (1 - scale) * plain + scale * both[0]

  xt, t = noisy(schedule)
  alpha, sigma = (x[:, None] for x in schedule(t))
  score = jax.vmap(jax.grad(log_density))(xt[:, 0], t)[:, None]
  x0 = guidance.classifier_free(cond, uncond, scale)(xt, t)
  # In the score's own units, noise of size one.
  np.testing.assert_allclose(
    (alpha * x0 - xt) / sigma, sigma * score, atol=2e-3, rtol=1e-3
  )


@pytest.mark.parametrize('name', ['cosine', 'ddpm', 've'])
def test_exact_classifier_gives_the_conditional_denoiser(name):
  schedule = LEVELS[name]
  cond, uncond = pair(schedule)
  xt, t = noisy(schedule)
  log_prob = lambda xt, t: log_first(schedule, xt, t)
  guided = guidance.classifier_gradient(uncond, log_prob, 1.0, schedule)
  np.testing.assert_allclose(guided(xt, t), cond(xt, t), atol=2e-4)
  assert np.abs(uncond(xt, t) - cond(xt, t)).max() > 0.5
  # A power of the classifier is classifier-free guidance of the same scale.
  guided = guidance.classifier_gradient(uncond, log_prob, 2.5, schedule)
  free = guidance.classifier_free(cond, uncond, 2.5)
  np.testing.assert_allclose(guided(xt, t), free(xt, t), atol=5e-4)


def test_a_classifier_of_pure_noise_is_not_asked():
  schedule = rectified_flow()
  plain = lambda xt, t: 0.5 * xt
  log_prob = lambda xt, t: jnp.sum(xt, axis=1)
  guided = guidance.classifier_gradient(plain, log_prob, 1.0, schedule)
  x0 = guided(jnp.ones((2, 1)), jnp.array([1.0, 0.5]))
  # At t = 0.5, where alpha = sigma = 1 / 2: sigma^2 / alpha = 1 / 2.
  np.testing.assert_allclose(x0[:, 0], [0.5, 1.0])


IMAGES = (5, 3, 3, 2)


def estimates(key):
  """Two denoisers that say something different everywhere."""
  first, second, x_key = jax.random.split(key, 3)
  weights = [jax.random.normal(k, IMAGES[1:]) for k in (first, second)]
  both = [lambda xt, t, w=w: xt * w[None] + 0.1 for w in weights]
  return both, jax.random.normal(x_key, IMAGES), jnp.linspace(0.1, 0.9, 5)


def test_scale_one_is_the_conditional_model(key):
  (cond, uncond), xt, t = estimates(key)
  for guided in (
    guidance.classifier_free(cond, uncond, 1.0),
    guidance.autoguidance(cond, uncond, 1.0),
    guidance.apg(cond, uncond, 1.0, 0.3, 0.5),
  ):
    np.testing.assert_allclose(guided(xt, t), cond(xt, t), atol=1e-5)


def test_autoguidance_moves_away_from_the_bad_model(key):
  (good, bad), xt, t = estimates(key)
  moved = guidance.autoguidance(good, bad, 2.0)(xt, t) - good(xt, t)
  np.testing.assert_allclose(moved, good(xt, t) - bad(xt, t), atol=1e-5)


def test_interval_decides_for_each_example():
  guided, plain = (lambda xt, t, v=v: jnp.full_like(xt, v) for v in (1.0, 0.0))
  limited = guidance.limited_interval(guided, plain, 0.25, 0.5)
  t = jnp.array([0.1, 0.25, 0.3, 0.5, 0.6])
  x0 = limited(jnp.zeros((5, 2, 1)), t)
  np.testing.assert_array_equal(x0[:, 0, 0], [0, 0, 1, 1, 0])


def test_guidance_costs_nothing_outside_its_interval():
  calls = []

  def guided(xt, t):
    jax.debug.callback(lambda: calls.append(1))
    return xt

  plain = lambda xt, t: xt
  run = jax.jit(guidance.limited_interval(guided, plain, 0.25, 0.5))
  for t, expected in ((0.9, 0), (0.4, 1), (0.1, 1)):
    run(jnp.zeros((2, 1)), jnp.full(2, t))
    jax.effects_barrier()
    assert len(calls) == expected


def test_rescaled_has_the_deviation_of_the_conditional(key):
  (cond, uncond), xt, t = estimates(key)
  guided = guidance.classifier_free(cond, uncond, 6.0)
  std = lambda x: np.std(x, axis=(1, 2, 3))
  whole = guidance.rescaled(guided, cond, 1.0)(xt, t)
  np.testing.assert_allclose(std(whole), std(cond(xt, t)), rtol=1e-5)
  none = guidance.rescaled(guided, cond, 0.0)(xt, t)
  np.testing.assert_allclose(none, guided(xt, t), rtol=1e-6)
  half = guidance.rescaled(guided, cond, 0.5)(xt, t)
  np.testing.assert_allclose(half, 0.5 * (whole + none), atol=1e-4)
  assert np.all(std(none) > 1.5 * std(whole))
  blank = guidance.rescaled(lambda xt, t: 0 * xt, cond, 1.0)(xt, t)
  np.testing.assert_array_equal(blank, 0)


def test_apg_without_its_parts_is_classifier_free(key):
  (cond, uncond), xt, t = estimates(key)
  np.testing.assert_allclose(
    guidance.apg(cond, uncond, 4.0, eta=1.0)(xt, t),
    guidance.classifier_free(cond, uncond, 4.0)(xt, t),
    atol=1e-5,
  )


def test_apg_is_orthogonal_and_no_longer_than_its_threshold(key):
  (cond, uncond), xt, t = estimates(key)
  flat = lambda x: np.asarray(x, np.float64).reshape(len(x), -1)
  c = flat(cond(xt, t))
  update = flat(guidance.apg(cond, uncond, 3.0)(xt, t)) - c
  cosine = np.sum(update * c, 1) / np.linalg.norm(update, axis=1)
  np.testing.assert_allclose(cosine / np.linalg.norm(c, axis=1), 0, atol=1e-6)
  # The whole of d, shortened; examples within the threshold keep theirs.
  d = c - flat(uncond(xt, t))
  norm = np.linalg.norm(d, axis=1)
  threshold = np.sort(norm)[2] + 1e-3
  short = flat(guidance.apg(cond, uncond, 2.0, 1.0, threshold)(xt, t)) - c
  np.testing.assert_allclose(
    short, d * np.minimum(1, threshold / norm)[:, None], atol=1e-5
  )
  # Where the two agree there is nothing to do.
  same = guidance.apg(cond, cond, 3.0, 0.0, 1.0)(xt, t)
  np.testing.assert_allclose(flat(same), c)


def test_thresholds():
  x0 = jnp.array([[0.5, -3.0, 2.0, 0.0], [0.1, 0.2, -0.3, 0.9]])
  t = jnp.zeros(2)
  clipped = guidance.clip(lambda xt, t: xt)(x0, t)
  np.testing.assert_allclose(clipped[0], [0.5, -1, 1, 0])
  scaled = guidance.dynamic_threshold(lambda xt, t: xt, 1.0)(x0, t)
  np.testing.assert_allclose(scaled[0], x0[0] / 3, rtol=1e-6)
  # An example already in range is left alone, whatever its neighbours do.
  np.testing.assert_allclose(scaled[1], x0[1], rtol=1e-6)


def test_changing_a_scale_does_not_recompile(key):
  (cond, uncond), xt, t = estimates(key)
  schedule = SCHEDULES['cosine']
  log_prob = lambda xt, t: -jnp.sum(xt**2, axis=(1, 2, 3))

  @jax.jit
  @chex.assert_max_traces(1)
  def run(scale, phi, eta, threshold, low, high, quantile):
    free = guidance.classifier_free(cond, uncond, scale)
    projected = guidance.apg(cond, uncond, scale, eta, threshold)
    gradient = guidance.classifier_gradient(uncond, log_prob, scale, schedule)
    return [
      denoiser(xt, t)
      for denoiser in (
        free,
        guidance.autoguidance(cond, uncond, scale),
        projected,
        gradient,
        guidance.rescaled(free, cond, phi),
        guidance.limited_interval(free, cond, low, high),
        guidance.dynamic_threshold(free, quantile),
      )
    ]

  first = run(2.0, 0.1, 0.1, 1.0, 0.1, 0.5, 0.9)
  second = run(3.0, 0.7, 0.4, 0.5, 0.3, 0.8, 0.5)
  for a, b in zip(first, second, strict=True):
    assert np.abs(a - b).max() > 1e-2


def test_momentum_keeps_a_part_of_the_last_differences(key):
  (cond, uncond), x, _ = estimates(key)
  schedule, times = SCHEDULES['cosine'], [0.9, 0.6, 0.4, 0.1]
  guide = lambda past: guidance.apg(cond, uncond, 3.0, 0.2, 5.0, past)
  step = guidance.momentum(samplers.euler(schedule), cond, uncond, guide, -0.5)
  ours = samplers.sample(step, None, keys(0, len(x)), x, times)
  past = 0.0
  for t, s in itertools.pairwise(jnp.asarray(times)):
    time = jnp.full(len(x), t)
    x0 = guide(past)(x, time)
    past = -0.5 * (cond(x, time) - uncond(x, time) + past)
    x = samplers.ddim(schedule)(
      lambda xt, t, x0=x0: x0, keys(0, len(x)), x, t, s
    )
  np.testing.assert_allclose(ours, x, atol=1e-4)
  assert np.abs(np.asarray(past)).max() > 0.01


def test_some_channels_are_guided_and_the_rest_conditional():
  cond, uncond = lambda xt, t: xt + 1.0, lambda xt, t: xt
  xt, t = jnp.arange(8.0).reshape(1, 2, 4), jnp.ones(1)
  guided = guidance.classifier_free(cond, uncond, 3.0, channels=3)(xt, t)
  np.testing.assert_allclose(guided[..., :3], xt[..., :3] + 3.0)
  np.testing.assert_allclose(guided[..., 3:], xt[..., 3:] + 1.0)
  for channels in (0, 2.5):
    with pytest.raises(ValueError, match='channels must be'):
      guidance.classifier_free(cond, uncond, 3.0, channels=channels)
  with pytest.raises(ValueError, match=r'channels must be in .1, 4., got 5'):
    guidance.classifier_free(cond, uncond, 3.0, channels=5)(xt, t)
