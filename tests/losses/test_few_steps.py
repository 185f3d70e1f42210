"""Few-step losses on data whose probability-flow ODE is known exactly."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import flow_map, gaussian_denoiser, keys
from nets import jit

from jaxdiff import predictions, schedules
from jaxdiff.losses import consistency, flow_maps, progressive, time_sampling
from jaxdiff.networks import attention
from jaxdiff.samplers.exponential import decay

MEAN, STD = 0.3, 0.5
# Each loss, on a schedule and with a kind of its own.
CASES = {
  'mean_flow': ('cosine', predictions.v),
  'improved': ('rectified_flow', predictions.velocity),
  'shortcut': ('linear_vp', predictions.velocity),
  'consistency': ('cosine', predictions.v),
  'distillation': ('rectified_flow', predictions.velocity),
  'progressive': ('linear_vp', predictions.v),
}


def network(kind, schedule, estimate):
  """A network that says `estimate(xt, t, s)`; its parameter makes it wrong."""

  def one(params, xt, t, s):
    alpha, sigma = schedule(t)
    x0 = estimate(xt, t, s) + params * sigma * (1 + t - s) * xt
    return predictions.target(kind, schedule, x0, (xt - alpha * x0) / sigma, t)

  def apply(params, xt, t, cond, dropout_keys=None):
    return jax.vmap(functools.partial(one, params))(xt, t, cond.get('s', t))

  return apply


def map_of_ode(schedule, std):
  """The x0 of DDIM's step from t to s that arrives where the ODE does."""
  denoise = gaussian_denoiser(schedule, MEAN, std)

  def estimate(xt, t, s):
    a, b = schedule(t), schedule(s)
    xs = flow_map(schedule, MEAN, std, xt, t, s)
    # Equal times: no step, and 0 / 0 below.
    near = t - s < 1e-3
    gained = jnp.where(near, 1.0, b.alpha * (1.0 - decay(a, b)))
    step = (xs - b.sigma / a.sigma * xt) / gained
    return jnp.where(near, denoise(xt[None], t[None])[0], step)

  return estimate


def exact(name, std):
  """The loss of a network that is right for data N(MEAN, std^2)."""
  schedule, kind = CASES[name]
  schedule = getattr(schedules, schedule)()
  teacher = lambda cond: gaussian_denoiser(schedule, MEAN, std)
  to_end = lambda xt, t, s: flow_map(
    schedule, MEAN, std, xt, t, jnp.zeros_like(t)
  )
  one_time = network(kind, schedule, to_end), schedule, kind
  two_times = network(kind, schedule, map_of_ode(schedule, std)), schedule, kind
  times = time_sampling.continuous(0.02)
  if name == 'shortcut':
    return flow_maps.shortcut(*two_times, times)
  if name == 'consistency':
    return consistency.consistency(*one_time, times, stages=4)
  if name == 'distillation':
    return consistency.distillation(*one_time, teacher, times, stages=4)
  if name == 'progressive':
    return progressive.progressive(*one_time, teacher, steps=4)
  improved = name == 'improved'
  return flow_maps.mean_flow(*two_times, times, power=0.0, improved=improved)


def evaluated(loss, std, num):
  """The loss at the right network, its derivative, and that of a wrong one."""
  x0 = MEAN + std * jax.random.normal(jax.random.key(7), (num, 3))
  of = lambda p: loss(p, keys(3, num), {'x0': x0})[0]

  def run(right, wrong):
    return *jax.jvp(of, (right,), (jnp.ones_like(right),)), of(wrong)

  return jit(run)(jnp.float32(0.0), jnp.float32(0.3))


@pytest.mark.parametrize('name', CASES)
def test_map_of_one_point_has_no_loss(name):
  # The paths of a pair (x0, eps) are then those of the ODE.
  right, slope, wrong = evaluated(exact(name, 0.0), 0.0, 64)
  assert right.max() < 1e-6 * wrong.mean() and np.isfinite(slope).all()
  assert np.abs(slope).mean() < 0.01 * wrong.mean()


@pytest.mark.parametrize('name', ['mean_flow', 'improved', 'shortcut'])
def test_map_of_gaussian_data_is_the_minimum(name):
  right, slope, wrong = evaluated(exact(name, STD), STD, 2048)
  error = slope.std() / len(slope) ** 0.5
  assert abs(slope.mean()) < 4 * error
  assert 0 < right.mean() < wrong.mean() - 4 * (wrong - right).std() / 45


def test_distillation_of_fine_steps_is_where_the_ode_ends():
  # Halving the teacher's steps halves what is left of the loss, or better.
  def left(stages):
    loss = functools.partial(consistency.distillation, stages=stages)
    schedule = schedules.rectified_flow()
    end = lambda xt, t, s: flow_map(
      schedule, MEAN, STD, xt, t, jnp.zeros_like(t)
    )
    kind = predictions.velocity
    teacher = lambda cond: gaussian_denoiser(schedule, MEAN, STD)
    times = time_sampling.continuous(0.02)
    apply = network(kind, schedule, end)
    return evaluated(loss(apply, schedule, kind, teacher, times), STD, 256)

  coarse, fine = left(4)[0].mean(), left(7)[0].mean()
  assert fine < coarse / 8


def test_stage_of_consistency_follows_the_step():
  # At first the target is xs at s = 0, the data.
  schedule, seen = schedules.rectified_flow(), []

  def apply(params, xt, t, cond, dropout_keys=None):
    seen.append(np.asarray(t))
    return xt

  loss = consistency.consistency(
    apply, schedule, predictions.velocity, lambda u: u, every=10, stages=3
  )
  for step in (0, 9, 10, 1000):
    batch = {'x0': jnp.ones((4, 2)), 'u': jnp.array([0.01, 0.3, 0.6, 1.0])}
    value = loss(None, keys(0, 4), {**batch, 'step': jnp.full(4, step)})[0]
    assert np.isfinite(value).all()
  times = np.array(seen).reshape(4, 2, 4)[:, 0]
  np.testing.assert_allclose(times[0, :2], 0, atol=1e-30)
  np.testing.assert_array_equal(times[0], times[1])
  assert (times[0] <= times[2]).all() and (times[2] < times[3]).all()
  rho = 0.6 / 0.4
  near = 1 - 2.0**-3 * (1 + 8 / (1 + np.exp(rho)))
  got = times[3, 2] / (1 - times[3, 2])
  np.testing.assert_allclose(got, near * rho, rtol=1e-4)


@pytest.mark.parametrize('schedule', ['cosine', 'rectified_flow'])
def test_losses_are_finite_at_both_ends(schedule):
  schedule = getattr(schedules, schedule)()
  kind = predictions.velocity
  apply = lambda params, xt, t, cond, dropout_keys=None: jnp.tanh(params * xt)
  teacher = lambda cond: lambda xt, t: 0.5 * xt
  network = apply, schedule, kind
  times = time_sampling.log_normal(schedule, -1.1, 2.0)
  of = [
    flow_maps.mean_flow(*network),
    flow_maps.mean_flow(*network, improved=True),
    flow_maps.shortcut(*network),
    consistency.consistency(*network, times),
    consistency.distillation(*network, teacher, times),
    progressive.progressive(*network, teacher, 2),
  ]
  u = jnp.float32([0.0, 1e-7, 0.5, 1 - 1e-7])
  batch = {'x0': jnp.ones((4, 2)), 'u': u}

  def values(params):
    return jnp.stack([loss(params, keys(1, 4), batch)[0] for loss in of])

  value, slope = jit(lambda p: jax.jvp(values, (p,), (p,)))(jnp.float32(0.7))
  assert np.isfinite(value).all() and np.isfinite(slope).all()


def test_adaptive_weight_bounds_the_loss_and_keeps_the_error():
  schedule = schedules.rectified_flow()
  far = network(predictions.velocity, schedule, lambda xt, t, s: 1e4 * xt)
  loss = flow_maps.mean_flow(far, schedule, predictions.velocity)
  batch = {'x0': jnp.ones((8, 3)), 'u': jnp.linspace(0.0, 0.9, 8)}
  value, metrics = loss(jnp.float32(0), keys(0, 8), batch)
  assert (value <= 1).all() and metrics['squared_error'].min() > 1e3


def test_jvp_through_attention_is_the_difference_quotient():
  block = attention.AttentionBlock(2, 1e-6, jnp.float32)
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
  shapes = jax.eval_shape(block.init, jax.random.key(0), x)['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda s: jnp.float32(rng.normal(size=s.shape)) / 2, shapes
  )
  f = lambda x: block.apply({'params': params}, x)
  dx = jax.random.normal(jax.random.key(1), x.shape)
  got = jit(lambda x, dx: jax.jvp(f, (x,), (dx,))[1])(x, dx)
  h = 1e-2
  want = (jit(f)(x + h * dx) - jit(f)(x - h * dx)) / (2 * h)
  np.testing.assert_allclose(got, want, atol=2e-2 * np.abs(want).max())


def test_wrong_settings_are_named():
  nothing = (None, schedules.cosine(), predictions.v)
  for build, text in {
    lambda: flow_maps.shortcut(*nothing, finest=12): 'power of two',
    lambda: flow_maps.mean_flow(*nothing, fraction=2.0): 'fraction',
    lambda: consistency.consistency(*nothing, q=1.0): 'q must',
    lambda: consistency.consistency(
      None, schedules.cosine(), predictions.x0
    ): 'with x0 it is not',
    lambda: progressive.progressive(*nothing, None, 0): 'steps',
  }.items():
    with pytest.raises(ValueError, match=text):
      build()
