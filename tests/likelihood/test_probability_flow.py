"""The ODE's likelihood of a mixture whose density is known at every t."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import keys
from nets import jit

from jaxdiff import parallel, schedules
from jaxdiff.likelihood import bits_per_dim, ode
from jaxdiff.likelihood import probability_flow as flow

MEANS = np.array([[-0.5, -0.4], [0.4, 0.1], [0.0, 0.6]], np.float32)
STDS = np.array([0.1, 0.2, 0.15], np.float32)
WEIGHTS = np.array([0.5, 0.3, 0.2], np.float32)
SCHEDULES = {
  'cosine': schedules.cosine(),
  'linear_vp': schedules.linear_vp(),
  'sub_vp': schedules.sub_vp(),
  've': schedules.ve(),
  'rectified_flow': schedules.rectified_flow(),
  'table': schedules.from_betas(schedules.linear_betas()),
}


def mixture_data(num, seed=0):
  rng = np.random.default_rng(seed)
  k = rng.choice(3, num, p=WEIGHTS.astype(np.float64) / WEIGHTS.sum())
  noise = STDS[k, None] * rng.normal(size=(num, 2))
  return (MEANS[k] + noise).astype(np.float32)


def mixture_log_density(x, alpha=1.0, sigma=0.0):
  """log p(x) at a noise level, [B], float64."""
  x, alpha, sigma = (np.asarray(v, np.float64) for v in (x, alpha, sigma))
  variance = (alpha * STDS) ** 2 + sigma**2
  square = ((x[:, None] - alpha * MEANS) ** 2).sum(-1)
  parts = np.log(WEIGHTS) - square / (2 * variance)
  return np.logaddexp.reduce(parts - np.log(2 * np.pi * variance), axis=1)


def mixture_denoiser(schedule):
  """E[x0 | xt]: each component's own estimate, by its posterior weight."""

  def one(xt, t):
    alpha, sigma = schedule(t)
    variance = (alpha * STDS) ** 2 + sigma**2
    offset = xt[None] - alpha * MEANS
    square = jnp.sum(jnp.square(offset), axis=-1)
    parts = jnp.log(WEIGHTS) - square / (2 * variance) - jnp.log(variance)
    estimates = MEANS + (alpha * STDS**2 / variance)[:, None] * offset
    return jnp.sum(jax.nn.softmax(parts)[:, None] * estimates, axis=0)

  return jax.vmap(one)


def log_likelihood(schedule, x0, num_steps=120, divergence=None, **kwargs):
  grid = flow.log_snr_grid(schedule, num_steps)
  divergence = divergence or flow.exact_trace()
  run = lambda keys, x0: flow.log_likelihood(
    mixture_denoiser(schedule),
    schedule,
    keys,
    x0,
    grid,
    divergence=divergence,
    **kwargs,
  )
  return jit(run)(keys(1, len(x0)), x0), grid


@pytest.mark.parametrize('name', SCHEDULES)
def test_log_likelihood_is_the_exact_one(name):
  schedule = SCHEDULES[name]
  x0 = mixture_data(48)
  result, grid = log_likelihood(schedule, x0)
  # What the grid starts from is data with (sigma / alpha)^2 of noise on it.
  exact = mixture_log_density(x0, sigma=np.exp(-0.5 * grid[0]))
  ours = np.asarray(result.log_density, np.float64)
  bits = lambda nats: bits_per_dim(nats, 2, bins=None)
  np.testing.assert_allclose(bits(ours).mean(), bits(exact).mean(), atol=1e-3)

  # Each example too, once the model's prior is exchanged for the density that
  # the data have at t_max; they are not quite the same.
  alpha, sigma = schedule(schedules.inverse(schedule, grid[-1]))
  z = np.asarray(result.latent, np.float64) / float(sigma)
  prior = -0.5 * (z**2).sum(1) - np.log(2 * np.pi * float(sigma) ** 2)
  true_prior = mixture_log_density(result.latent, alpha, sigma)
  np.testing.assert_allclose(
    bits(ours - prior + true_prior), bits(exact), atol=1e-3
  )


def test_grid_that_starts_late_gives_the_density_there():
  # Of x / alpha: the change of variables from z counts here.
  schedule, x0 = SCHEDULES['cosine'], mixture_data(16)
  grid = flow.log_snr_grid(schedule, 60, t_min=0.4)
  result = jit(
    lambda x0: flow.log_likelihood(
      mixture_denoiser(schedule),
      schedule,
      keys(1, 16),
      x0,
      grid,
      divergence=flow.exact_trace(),
    )
  )(x0)
  exact = mixture_log_density(x0, sigma=np.exp(-0.5 * grid[0]))
  np.testing.assert_allclose(result.log_density, exact, atol=1e-3)


def test_adaptive_steps_agree_with_fixed_ones_in_fewer_evaluations():
  schedule, x0 = SCHEDULES['rectified_flow'], mixture_data(32)
  fixed, _ = log_likelihood(schedule, x0, 160)
  adaptive, _ = log_likelihood(
    schedule, x0, 1, integrator=ode.dormand_prince(1e-4, 1e-4)
  )
  assert adaptive.evaluations < fixed.evaluations / 2
  np.testing.assert_allclose(adaptive.log_density, fixed.log_density, atol=2e-3)
  np.testing.assert_allclose(adaptive.latent, fixed.latent, atol=2e-3)


def test_adaptive_steps_do_not_depend_on_the_devices():
  schedule = SCHEDULES['cosine']
  grid = flow.log_snr_grid(schedule, 1)

  def step(x0, index, axis_name=None):
    probe_keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(1), i))(
      index
    )
    result = flow.log_likelihood(
      mixture_denoiser(schedule),
      schedule,
      probe_keys,
      x0,
      grid,
      integrator=ode.dormand_prince(1e-3, 1e-3, axis_name=axis_name),
    )
    evaluations = jnp.full(len(x0), result.evaluations)
    return result.log_density, evaluations

  # One example a device: without a common step size each device would choose
  # its own, and the eight counts would differ.
  x0, index = mixture_data(8), np.arange(8)
  run = lambda devices, mode: parallel.compile_step(
    step,
    parallel.make_mesh(devices=jax.devices()[:devices]),
    mode=mode,
    in_axes=(0, 0),
    out_axes=(0, 0),
  )(x0, index)
  density, evaluations = run(1, 'jit')
  for mode in ('jit', 'pmap'):
    other, counts = run(8, mode)
    np.testing.assert_array_equal(counts, evaluations)
    np.testing.assert_allclose(other, density, rtol=1e-4, atol=1e-4)


def test_hutchinson_is_unbiased():
  # Correlated dimensions: with a diagonal Jacobian a Rademacher probe would be
  # exact and the test empty.
  matrix = jnp.array([[0.3, 1.0], [0.4, -0.8]])
  f = lambda z: jnp.tanh(jnp.einsum('ij,bj->bi', matrix, z))
  num = 20_000
  z = jnp.broadcast_to(jnp.array([0.2, -0.5]), (num, 2))
  value, exact = flow.exact_trace()(f, z[:1], keys(0, 1))
  for num_probes in (1, 4):
    probe = flow.hutchinson(num_probes)
    ours, estimate = jit(lambda keys, probe=probe: probe(f, z, keys))(
      keys(3, num)
    )
    estimate = np.asarray(estimate, np.float64)
    error = estimate.std(ddof=1) / np.sqrt(num)
    assert abs(estimate.mean() - float(exact[0])) < 4.5 * error
    # A probe's variance is sum_{i<j} (J_ij + J_ji)^2: here of two off-diagonal
    # elements, shrinking with the number of probes.
    jacobian = jit(jax.jacobian(lambda z: f(z[None])[0]))(z[0])
    spread = abs(float(jacobian[0, 1] + jacobian[1, 0]))
    np.testing.assert_allclose(
      estimate.std(), spread / np.sqrt(num_probes), rtol=0.05
    )
    np.testing.assert_allclose(ours[0], value[0], rtol=1e-6)


def test_exact_trace_is_the_jacobians():
  f = lambda z: jnp.sin(z) * jnp.sum(z**2, axis=(1, 2), keepdims=True)
  z = jax.random.normal(jax.random.key(0), (2, 3, 2))
  exact = flow.exact_trace(chunk=4)
  _, trace = jit(lambda z, keys: exact(f, z, keys))(z, keys(0, 2))
  jacobian = jit(jax.jacobian(lambda z: f(z[None])[0]))
  for i in range(2):
    whole = np.asarray(jacobian(z[i])).reshape(6, 6)
    np.testing.assert_allclose(trace[i], np.trace(whole), rtol=1e-5)


def test_hutchinson_likelihood_is_exact_on_average():
  schedule, x0 = SCHEDULES['cosine'], mixture_data(1)
  exact, _ = log_likelihood(schedule, x0, 60)
  many = np.broadcast_to(x0, (2000, 2))
  estimate, _ = log_likelihood(schedule, many, 60, flow.hutchinson())
  values = np.asarray(estimate.log_density, np.float64)
  error = values.std(ddof=1) / np.sqrt(len(values))
  assert 0 < error < 0.05
  assert abs(values.mean() - float(exact.log_density[0])) < 4.5 * error + 1e-4


@pytest.mark.parametrize('tableau, order', [(ode.HEUN, 2), (ode.RK4, 4)])
def test_fixed_steps_have_their_order(tableau, order):
  # dy/ds = y cos s with s explicit, y = exp(sin s); a pytree of two leaves.
  field = lambda s, y: jax.tree.map(lambda y: y * jnp.cos(s), y)
  y = {'a': jnp.ones((1, 2)), 'b': jnp.ones(1)}
  errors = []
  for num_steps in (4, 8, 16):
    grid = jnp.linspace(0.0, 2.0, num_steps + 1)
    end, evaluations = ode.fixed(tableau)(field, y, grid)
    assert evaluations == num_steps * order
    errors.append(float(abs(end['b'][0] - np.exp(np.sin(2.0)))))
    np.testing.assert_allclose(end['a'][0], end['b'][0], rtol=1e-6)
  measured = np.log2(np.array(errors[:-1]) / errors[1:])
  np.testing.assert_allclose(measured, order, atol=0.5)


def test_dormand_prince_keeps_its_tolerance_and_gives_up_loudly():
  field = lambda s, y: y * jnp.cos(s)
  y, grid = jnp.ones((2, 3)), jnp.array([0.0, 6.0])
  exact = np.exp(np.sin(6.0))
  counts = []
  for tolerance in (1e-2, 1e-4, 1e-6):
    end, evaluations = ode.dormand_prince(tolerance, tolerance)(field, y, grid)
    np.testing.assert_allclose(end, exact, atol=5 * tolerance)
    counts.append(int(evaluations))
  assert counts == sorted(counts) and counts[0] < counts[-1] < 300
  back, _ = ode.dormand_prince(1e-6, 1e-6)(field, end, grid[::-1])
  np.testing.assert_allclose(back, 1.0, atol=1e-4)
  end, _ = ode.dormand_prince(1e-6, 1e-6, max_steps=3)(field, y, grid)
  assert np.isnan(end).all()


def test_divergence_and_grid_are_checked():
  schedule = SCHEDULES['linear_vp']
  grid = flow.log_snr_grid(schedule, 5)
  chex.assert_shape(grid, (6,))
  assert np.isfinite(grid).all() and (np.diff(grid) < 0).all()
  with pytest.raises(ValueError, match='num_steps must be at least 1, got 0'):
    flow.log_snr_grid(schedule, 0)
  with pytest.raises(ValueError, match='t_min=0.5 and t_max=0.5'):
    flow.log_snr_grid(schedule, 5, 0.5, 0.5)
