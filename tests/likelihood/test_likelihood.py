"""Likelihoods of data whose density, denoiser and bound are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import gaussian_denoiser, keys
from gaussian import (
  BETAS,
  MEAN,
  STD,
  TIMES,
  closed_form,
  gaussian_bits,
  gaussian_data,
  log_snr_times,
  within,
)
from nets import jit

from jaxdiff import (
  likelihood,
  losses,
  parallel,
  predictions,
  processes,
  schedules,
)
from jaxdiff.likelihood import variational_bound
from jaxdiff.losses import elbo, learned_variance, time_sampling, weightings
from jaxdiff.schedules import mixing


@pytest.mark.parametrize('variance', ['small', 'large'])
def test_every_term_of_the_bound_is_its_closed_form(variance):
  schedule = schedules.from_betas(BETAS)
  x0 = gaussian_data(4000)
  process = processes.gaussian(schedule, variance, bins=None)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  bound = jit(
    lambda x0: variational_bound(process, denoise, keys(1, len(x0)), x0, TIMES)
  )(x0)
  prior, steps, data = closed_form(variance)
  within(bound.prior, prior)
  within(bound.steps, steps)
  within(bound.data, data)
  within(bound.total, prior + steps.sum() + data)
  # The tolerance is a small part of each term.
  error = np.asarray(bound.steps).std(axis=0) / np.sqrt(len(x0))
  assert (4.5 * error < 0.1 * steps).all()


@pytest.mark.slow
def test_learned_variance_between_the_fixed_ones_and_in_training():
  schedule = schedules.from_betas(BETAS)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  x0 = gaussian_data(6)
  bound = lambda variance, estimator: variational_bound(
    processes.gaussian(schedule, variance), estimator, keys(1, 6), x0, TIMES
  )
  learned = jit(
    lambda v: bound(
      'learned', lambda xt, t: (denoise(xt, t), jnp.full_like(xt, v))
    )
  )
  for v, variance in ((-1.0, 'small'), (1.0, 'large')):
    np.testing.assert_allclose(
      learned(v).steps,
      jit(lambda variance=variance: bound(variance, denoise))().steps,
      rtol=1e-3,
      atol=1e-6,
    )

  # The loss that trains it is the same term: at t = 1 / T too, the decoder.
  pair = lambda params, xt, t, cond, dropout_key: (denoise(xt, t), 0.3 * xt)
  ours = learned_variance.variational(
    pair, schedule, predictions.x0, len(BETAS)
  )
  process = processes.gaussian(schedule, 'learned')
  same = elbo.variational(pair, process, len(BETAS))
  u = jnp.array([0.0, 0.01, 0.3, 0.5, 0.8, 0.99])
  batch = {'x0': x0, 'u': u}
  both = jit(lambda: [f(None, keys(1, 6), batch)[0] for f in (ours, same)])
  bits, nats = both()
  np.testing.assert_allclose(bits, nats / np.log(2), rtol=1e-4)


def test_random_terms_are_terms_of_the_whole_and_unbiased():
  schedule = schedules.from_betas(BETAS)
  x0 = gaussian_data(1000)
  process = processes.gaussian(schedule, bins=None)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  run = lambda num_terms: jit(
    lambda x0: variational_bound(
      process, denoise, keys(1, len(x0)), x0, TIMES, num_terms=num_terms
    )
  )(x0)
  whole = run(None)
  # As many parts as terms: each term once, at the same noise.
  every = run(len(BETAS) - 1)
  np.testing.assert_allclose(every.steps, whole.steps, rtol=1e-4, atol=1e-6)
  some = run(3)
  assert some.steps.shape == (len(x0), 3)
  within(some.total - whole.total, 0.0)
  one = some.steps[0, 0] / ((len(BETAS) - 1) / 3)
  assert np.abs(whole.steps[0] - one).min() < 1e-6


def test_bound_tends_to_the_likelihood_from_above():
  schedule = schedules.cosine(-8, 8)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  process = processes.gaussian(schedule, bins=None)
  x0 = gaussian_data(4000)
  exact = gaussian_bits(x0)
  gaps = []
  for num_steps in (16, 64, 256):
    times = log_snr_times(schedule, num_steps)
    bound = jit(
      lambda x0, times=times: variational_bound(
        process, denoise, keys(1, len(x0)), x0, times
      )
    )(x0)
    gap = np.asarray(bound.total, np.float64) - exact
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    assert gap.mean() > -4.5 * error
    gaps.append(gap.mean())
  assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]
  assert gaps[2] < 0.1

  limit = jit(
    lambda x0: likelihood.continuous_bound(
      process, denoise, keys(2, len(x0)), x0, num_terms=32
    )
  )(x0)
  within(limit.total - exact, 0.0, atol=2e-3)


@pytest.mark.parametrize('name', ['linear_vp', 've', 'sub_vp', 'flow', 'table'])
def test_continuous_bound_of_exact_denoiser_is_the_likelihood(name):
  schedule = {
    'linear_vp': schedules.linear_vp(),
    've': schedules.ve(),
    'sub_vp': schedules.sub_vp(),
    'flow': schedules.rectified_flow(),
    'table': schedules.from_betas(schedules.linear_betas()),
  }[name]
  x0 = gaussian_data(4000)
  bound = jit(
    lambda x0: likelihood.continuous_bound(
      processes.gaussian(schedule, bins=None),
      gaussian_denoiser(schedule, MEAN, STD),
      keys(2, len(x0)),
      x0,
      num_terms=16,
    )
  )(x0)
  # 2e-3: x0_hat's variance is not quite (sigma / alpha)^2 at t_min.
  within(bound.total - gaussian_bits(x0), 0.0, atol=2e-3)


def test_continuous_bound_is_the_bound_with_any_denoiser():
  # Not only with the optimal one, where both equal the likelihood: a wrong
  # denoiser pays int 1/2 SNR bias^2, which the discrete bound pays too.
  schedule = schedules.cosine(-8, 8)
  wrong = gaussian_denoiser(schedule, MEAN + 0.2, 1.5 * STD)
  x0 = gaussian_data(4000)
  exact = gaussian_bits(x0)
  times = log_snr_times(schedule, 4000)
  process = processes.gaussian(schedule, bins=None)
  args = process, wrong, keys(1, len(x0)), x0
  discrete = jit(lambda: variational_bound(*args, times, num_terms=60))()
  continuous = jit(lambda: likelihood.continuous_bound(*args, num_terms=60))()
  assert (discrete.total - exact).mean() > 0.3
  within(discrete.total - continuous.total, 0.0, atol=2e-2)


def test_example_i_meets_the_noise_of_its_key_alone():
  schedule = schedules.from_betas(BETAS)
  process = processes.gaussian(schedule)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  x0 = gaussian_data(5)
  run = jit(
    lambda keys, x0: variational_bound(
      process, denoise, keys, x0, TIMES, num_terms=2
    )
  )
  few, many = (run(keys(1, n), x0[:n]) for n in (2, 5))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b[:2], rtol=1e-5), few, many
  )


@pytest.mark.parametrize('mode', ['jit', 'pmap'])
def test_bound_is_the_same_on_eight_devices(mode):
  schedule = schedules.from_betas(BETAS)
  process = processes.gaussian(schedule)
  denoise = gaussian_denoiser(schedule, MEAN, STD)

  def step(x0, index, axis_name=None):
    del axis_name
    noise_keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(1), i))(
      index
    )
    return variational_bound(
      process, denoise, noise_keys, x0, TIMES, num_terms=4
    ).total

  x0, index = np.asarray(gaussian_data(16)), np.arange(16)
  run = lambda devices: parallel.compile_step(
    step,
    parallel.make_mesh(devices=jax.devices()[:devices]),
    mode=mode,
    in_axes=(0, 0),
    out_axes=0,
  )(x0, index)
  np.testing.assert_allclose(run(8), run(1), rtol=1e-5)


def test_nelbo_of_an_exact_denoiser_is_the_closed_form():
  # 1/2 int SNR mse d log_snr with mse = 1 / (1 / STD^2 + SNR).
  schedule = schedules.cosine(-8, 8)
  process = processes.gaussian(schedule, bins=None)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  apply = lambda params, xt, t, cond, dropout_key: denoise(xt, t)
  num = 20_000
  loss = jit(elbo.nelbo(apply, process, time_sampling.continuous()))
  batch = {'x0': gaussian_data(num), 'u': (jnp.arange(num) + 0.5) / num}
  nats = loss(None, keys(1, num), batch)[0]
  first, last = (np.exp(schedules.log_snr(schedule, t)) for t in (0.0, 1.0))
  gap = np.log(1 / STD**2 + first) - np.log(1 / STD**2 + last)
  within(nats, 0.5 * gap)
  # With the prior's and the decoder's terms it is the entropy.
  bound = jit(
    lambda x0: likelihood.continuous_bound(process, denoise, keys(2, num), x0)
  )(batch['x0'])
  bits = nats / np.log(2) + bound.prior + bound.data
  entropy = np.log2(STD * np.sqrt(2 * np.pi * np.e))
  within(bits, entropy, atol=2e-3)


def test_nelbo_of_eps_is_half_the_likelihood_weighting():
  schedule = schedules.linear_vp()
  process = processes.gaussian(schedule)
  apply = lambda params, xt, t, cond, dropout_key: jnp.tanh(xt + t[0])
  ours = elbo.nelbo(
    losses.clean_apply(apply, predictions.eps, schedule), process
  )
  weighted = losses.denoising(
    apply,
    schedule,
    predictions.eps,
    weighting=weightings.simple,
    per_log_snr=True,
    times=time_sampling.continuous(1e-5),
  )
  batch = {'x0': gaussian_data(16)}
  both = jit(lambda: [f(None, keys(1, 16), batch)[0] for f in (ours, weighted)])
  nats, error = both()
  np.testing.assert_allclose(nats, 0.5 * error, rtol=1e-3)


def test_a_masked_part_is_not_counted():
  schedule = schedules.from_betas(BETAS)
  process = processes.gaussian(schedule, bins=None)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  x0 = gaussian_data(500)
  mask = jnp.broadcast_to(jnp.array([[True], [False]]), x0.shape)
  # What does not exist may hold anything.
  x0 = jnp.where(mask, x0, 1e6)
  bound = jit(
    lambda x0: variational_bound(
      process, denoise, keys(1, 500), x0, TIMES, mask=mask
    )
  )(x0)
  within(bound.steps, closed_form('small')[1])
  np.testing.assert_array_equal(likelihood.elements(process, x0, mask), 1)


def test_what_cannot_be_is_refused():
  schedule = schedules.cosine()
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  process = processes.gaussian(schedule)
  args = process, denoise, keys(0, 1), jnp.zeros((1, 1))
  with pytest.raises(ValueError, match='must decrease to 0'):
    variational_bound(*args, [0.0, 0.5, 1.0])
  for times in ([1.0, 0.5], [0.0], [], [1.0, float('nan'), 0.0]):
    with pytest.raises(ValueError, match='must decrease to 0'):
      variational_bound(*args, times)
  with pytest.raises(ValueError, match='number of steps, 2, got 3'):
    variational_bound(*args, [1.0, 0.5, 0.0], num_terms=3)
  with pytest.raises(ValueError, match='num_terms must be at least 1'):
    variational_bound(*args, TIMES, num_terms=0)
  without = processes.remasked(mixing.linear(), 3)
  with pytest.raises(ValueError, match='needs a process with terms'):
    likelihood.continuous_bound(without, *args[1:])
