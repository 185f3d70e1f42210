"""Factories refuse arguments out of range when they are called."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import (
  checks,
  conditioning,
  editing,
  guidance,
  likelihood,
  losses,
  predictions,
  processes,
  samplers,
  schedules,
  training,
)
from jaxdiff.likelihood import ode, probability_flow
from jaxdiff.losses import elbo, learned_variance, time_sampling, weightings
from jaxdiff.samplers import categorical, grids, mcmc, unmasking
from jaxdiff.schedules import mixing

NAN, INF = math.nan, math.inf
COSINE, LINEAR = schedules.cosine(), mixing.linear()
GAUSSIAN = processes.gaussian(COSINE)
IMAGE = jnp.zeros((1, 2))
nothing = lambda *args: None
same = lambda xt, t: xt
edm = lambda *args: samplers.edm_stochastic(COSINE, 4, *args)
step = lambda **args: training.make_train_step(nothing, None, **args)
karras = lambda **args: grids.karras_times(4, COSINE, **args)
polyexponential = lambda **args: grids.polyexponential_times(4, COSINE, **args)
log_snr = lambda **args: grids.log_snr_times(4, COSINE, **args)
enlarge = lambda *args: conditioning.super_resolution(nothing, *args)
cross_entropy = lambda x: elbo.cross_entropy(
  nothing, GAUSSIAN, weights={'a': 1, 'b': x}
)
bound = lambda *args: elbo.variational(nothing, GAUSSIAN, *args)
hybrid = lambda x: learned_variance.hybrid(
  nothing, COSINE, predictions.v, 2, vlb_scale=x
)
churn = lambda x: samplers.churn(nothing, COSINE, x, 1.0)
correct = lambda *args: samplers.predictor_corrector(nothing, COSINE, *args)
coin = [0.5, 0.5]
rate_matrix = lambda **args: processes.rate_matrix(LINEAR, coin, **args)
information = lambda x: mixing.mutual_information(coin, coin, x)
classifier = lambda x: guidance.classifier_gradient(same, same, x, COSINE)

# (argument, factory of that argument alone, what it refuses, what it allows)
CASES = [
  ('log_snr_min', lambda x: schedules.cosine(x), [NAN, -INF, INF, '1'], [-9]),
  ('log_snr_max', lambda x: schedules.cosine(-5, x), [NAN, INF, -5], [-4]),
  ('beta_min', lambda x: schedules.linear_vp(x), [NAN, -0.1, INF], [0]),
  ('beta_max', lambda x: schedules.sub_vp(0.0, x), [NAN, 0.0, -1, INF], [1]),
  ('sigma_min', lambda x: schedules.ve(x), [NAN, 0, -1, INF], [1e-4]),
  ('sigma_max', lambda x: schedules.ve(1.0, x), [NAN, 1.0, INF], [1.1]),
  ('sigma_min', lambda x: schedules.edm(x), [NAN, 0, -1, INF], [1e-4]),
  ('sigma_max', lambda x: schedules.edm(1.0, x), [NAN, 0.5, INF], [2]),
  ('rho', lambda x: schedules.edm(rho=x), [NAN, 0, -7, INF, 1e-9], [1, 7.0]),
  ('log_snr_min', schedules.linear_log_snr, [NAN, -INF, INF, '1'], [-9]),
  ('log_snr_max', lambda x: schedules.linear_log_snr(0, x), [NAN, INF, 0], [1]),
  ('mean', lambda x: schedules.laplace(x), [NAN, INF, '0'], [1]),
  ('scale', lambda x: schedules.laplace(0.0, x), [NAN, 0, -1, INF], [2]),
  ('log_snr_max', lambda x: schedules.laplace(20.0), [None], []),
  ('log_snr_min', lambda x: schedules.laplace(-20.0), [None], []),
  ('shift', lambda x: schedules.shifted(COSINE, x), [NAN, 0, -1, INF], [3]),
  ('num_steps', schedules.linear_betas, [0, -1, 2.5, True, NAN], [1]),
  ('first', lambda x: schedules.linear_betas(9, x), [NAN, 0, 1, -1], [0.5]),
  ('last', lambda x: schedules.scaled_linear_betas(9, 0.1, x), [NAN, 1.5], []),
  ('last', lambda x: schedules.sigmoid_betas(9, 0.1, x), [NAN, 0, -1], [0.3]),
  ('offset', lambda x: schedules.cosine_betas(9, x), [NAN, -1, INF], [0]),
  ('max_beta', lambda x: schedules.cosine_betas(9, 0.1, x), [NAN, 0, 1], []),
  ('eps', mixing.log_linear, [NAN, -0.1, 1, INF], [0, 0.5]),
  ('num_points', information, [0, 1.5, NAN], [2]),
  ('sigma_data', predictions.edm, [NAN, 0, -1, INF], [1]),
  ('bins', lambda x: processes.gaussian(COSINE, bins=x), [1, 0, 2.5], [None]),
  ('num_classes', lambda x: processes.ordinal(LINEAR, x), [1, 0, 2.5], [2]),
  ('width', lambda x: processes.ordinal(LINEAR, 3, x), [NAN, 0, -1, INF], [1]),
  ('num_classes', lambda x: processes.uniform(LINEAR, x), [0, -1, 2.5], [1]),
  ('num_classes', lambda x: processes.absorbing(LINEAR, x), [0, -1, NAN], [1]),
  ('scale', lambda x: processes.remasked(LINEAR, 2, x), [NAN, -1, 1.1], [0]),
  ('cap', lambda x: processes.remasked(LINEAR, 2, 1, x), [NAN, -1, 2], [0.1]),
  ('omega', lambda x: rate_matrix(omega=x), [NAN, -0.1, INF], [0, 2]),
  ('eta', lambda x: rate_matrix(eta=x), [NAN, -1, INF], [0, 300]),
  ('delta', losses.huber, [NAN, 0, -1, INF], [0.1]),
  ('delta', losses.pseudo_huber, [NAN, 0, -1, INF], [0.1]),
  ('strength', losses.offset_noise, [NAN, -0.1, INF], [0]),
  ('t_min', time_sampling.continuous, [NAN, -0.1, 1, INF, 'a'], [0, 0.5]),
  ('num_steps', time_sampling.grid, [0, -3, 2.5, NAN], [1]),
  ('mean', time_sampling.logit_normal, [NAN, INF], [-3]),
  ('std', lambda x: time_sampling.logit_normal(0, x), [NAN, 0, -1, INF], [2]),
  (
    'std',
    lambda x: time_sampling.log_normal(COSINE, 0, x),
    [NAN, 0, -1, INF],
    [2],
  ),
  ('gamma', weightings.min_snr, [NAN, 0, -1], [5, INF]),
  ('gamma', weightings.p2, [NAN, -1, INF], [0, 1]),
  ('k', lambda x: weightings.p2(1, x), [NAN, 0, -1, INF], [1]),
  ('bias', weightings.sigmoid, [NAN, INF, -INF, '0'], [-3]),
  ('sigma_data', weightings.edm, [NAN, 0, -1, INF, 'a'], [0.5]),
  ('num_steps', bound, [0, 1.5, NAN], [1]),
  ('cross_entropy_weight', lambda x: bound(2, x), [NAN, -1, INF], [0]),
  ('weights', cross_entropy, [NAN, -1, INF], [0]),
  (
    'length',
    lambda x: elbo.nelbo(nothing, GAUSSIAN, length=x),
    [0, -1, 1.5],
    [8],
  ),
  ('vlb_scale', hybrid, [NAN, -1, INF], [0]),
  ('eta', lambda x: samplers.ddim(COSINE, x), [NAN, 5, -1, INF], [0, 1]),
  ('eta', lambda x: samplers.dpmpp_2m_sde(COSINE, x), [NAN, -1, INF], [0, 2]),
  ('variance', lambda x: samplers.ancestral(GAUSSIAN, x), ['large', 1], [same]),
  ('order', lambda x: samplers.unipc(COSINE, x), [0, 4, 9, 1.5, NAN], [1, 3]),
  ('variant', lambda x: samplers.unipc(COSINE, 2, x), ['bh3', 1], ['bh1']),
  ('order', lambda x: samplers.lms(COSINE, x), [0, 5, 1.5], [1, 4]),
  ('order', lambda x: samplers.deis(COSINE, x), [0, 5, NAN], [1, 4]),
  ('order', lambda x: samplers.sa_solver(COSINE, x), [0, 5, 1.5], [4]),
  ('corrector', lambda x: samplers.sa_solver(COSINE, 1, x), [1, 5], [0, 4]),
  ('tau', lambda x: samplers.sa_solver(COSINE, tau=x), [NAN, -1, INF], [0]),
  ('low', lambda x: samplers.sa_solver(COSINE, low=x), [NAN, -1, 2], [0.2]),
  ('high', lambda x: samplers.sa_solver(COSINE, high=x), [NAN, -1, 2], [0.8]),
  ('middle', lambda x: samplers.dpmpp_2s(COSINE, x), ['t', 0.5], ['log_snr']),
  ('eta', lambda x: samplers.dpmpp_sde(COSINE, x), [NAN, -1, INF], [0, 2]),
  ('eta', lambda x: samplers.dpmpp_3m_sde(COSINE, x), [NAN, -1, INF], [0, 2]),
  ('eta', lambda x: samplers.dpm_2_ancestral(COSINE, x), [NAN, -1, 2], [1]),
  ('eta', lambda x: samplers.dpmpp_2s_ancestral(COSINE, x), [NAN, 1.1], [0]),
  (
    'beta',
    lambda x: guidance.momentum(nothing, same, same, nothing, x),
    [NAN, -1, 1],
    [-0.5],
  ),
  ('iterations', lambda x: samplers.encode(COSINE, x), [0, -1, 1.5], [2]),
  ('s_churn', edm, [NAN, -1, INF], [0]),
  ('s_min', lambda x: edm(1, x), [NAN, -1, INF], [0]),
  ('s_max', lambda x: edm(1, 2.0, x), [NAN, 2.0, 0, -1], [INF, 3]),
  ('s_noise', lambda x: edm(1, 2.0, 3.0, x), [NAN, 0, -1, INF], [1]),
  ('num_steps', churn, [0, 1.5], [1]),
  ('num', correct, [-1, 1.5, NAN], [0]),
  ('snr', lambda x: correct(1, x), [NAN, 0, -1, INF], [0.1]),
  ('num', lambda x: samplers.annealed_langevin(COSINE, x), [-1, 1.5], [1]),
  ('snr', lambda x: samplers.annealed_langevin(COSINE, 1, x), [NAN, -1], [1]),
  (
    'snr',
    lambda x: mcmc.langevin(
      COSINE, same, jax.random.split(jax.random.key(0), 1), IMAGE, 0.5, 1, x
    ),
    [NAN, 0, -1],
    [0.1],
  ),
  (
    'noise',
    lambda x: unmasking.surest_first(LINEAR, 2, noise=x),
    [NAN, -1],
    [0],
  ),
  ('value', lambda x: categorical.temperature(same, x), [NAN, 0, -1, INF], [1]),
  ('num_steps', grids.uniform_times, [0, -3, 1.5, NAN, 1e12], [1]),
  ('num_steps', grids.distorted_times, [0, -3, 1.5, NAN], [1]),
  ('num_steps', grids.cosine_times, [0, -3, 1.5, NAN], [1]),
  ('num_steps', grids.quadratic_times, [0, -3, 1.5, NAN], [1]),
  ('rho', lambda x: karras(rho=x), [NAN, 0, -1, INF], [1]),
  ('sigma_min', lambda x: karras(sigma_min=x), [NAN, 0, -1], [0.1]),
  ('sigma_max', lambda x: karras(sigma_min=0.1, sigma_max=x), [NAN, 0.1], [1]),
  ('log_snr_min', lambda x: log_snr(log_snr_min=x), [NAN, INF], [-9]),
  (
    'log_snr_max',
    lambda x: log_snr(log_snr_min=1, log_snr_max=x),
    [NAN, 0],
    [9],
  ),
  ('rho', lambda x: polyexponential(rho=x), [NAN, 0, -1, INF], [1, 2]),
  ('sigma_min', lambda x: polyexponential(sigma_min=x), [NAN, 0, -1], [0.1]),
  ('table_steps', lambda x: grids.linspace_times(1, x), [0, -1, 1.5], [1]),
  ('table_steps', lambda x: grids.trailing_times(1, x), [0, -1, 1.5], [1]),
  ('offset', lambda x: grids.leading_times(2, 9, x), [-1, 1.5], [1]),
  ('last', lambda x: grids.leading_times(2, 9, 1, x), [-1, 1.5], [1]),
  (
    'scale',
    lambda x: guidance.classifier_free(same, same, x),
    [NAN, INF],
    [0, -1],
  ),
  ('phi', lambda x: guidance.rescaled(same, same, x), [NAN, -1, 1.1], [1]),
  ('scale', lambda x: guidance.apg(same, same, x), [NAN, INF], [0]),
  ('eta', lambda x: guidance.apg(same, same, 2, x), [NAN, -1, INF], [0]),
  (
    'threshold',
    lambda x: guidance.apg(same, same, 2, 0, x),
    [NAN, 0, -1],
    [INF],
  ),
  ('scale', classifier, [NAN, INF], [1]),
  ('high', lambda x: guidance.clip(same, 1, x), [NAN, -1, 1, INF, 'x'], [2]),
  ('low', lambda x: guidance.clip(same, x), [NAN, -INF, 'x'], [-2]),
  (
    'quantile',
    lambda x: guidance.dynamic_threshold(same, x),
    [NAN, 0, 99.5],
    [1, 0.5],
  ),
  (
    'strength',
    lambda x: editing.sdedit(GAUSSIAN, None, None, [1, 0], x),
    [NAN, -1, 2],
    [],
  ),
  ('jump', lambda x: editing.repaint_times([1, 0], x, 2), [0, -1, 1.5], [1]),
  ('repeats', lambda x: editing.repaint_times([1, 0], 1, x), [0, -1, 1.5], [1]),
  (
    'probability',
    lambda x: conditioning.dropping(nothing, {}, x),
    [NAN, -1, 1.5],
    [0, 1],
  ),
  ('size', lambda x: enlarge(x, 0.5), [0, 1.5], [1]),
  ('most', lambda x: enlarge(4, x), [NAN, -1, 2], [0, 1]),
  ('low', lambda x: guidance.limited_interval(same, same, x, 1), [NAN], [0]),
  (
    'high',
    lambda x: guidance.limited_interval(same, same, 0.5, x),
    [NAN, 0.5, INF],
    [1],
  ),
  ('empty', lambda x: processes.symmetric(GAUSSIAN, x), [-1, 0.5], [0]),
  ('bins', lambda x: likelihood.bits_per_dim(IMAGE, 2, x), [1, 2.5], [None]),
  ('num_dims', lambda x: likelihood.bits_per_dim(IMAGE, x), [0, 1.5], [2]),
  (
    'bins',
    lambda x: likelihood.dequantize(jax.random.key(0), IMAGE, x),
    [1, 0, 2.5],
    [2],
  ),
  ('rtol', ode.dormand_prince, [NAN, -1, INF], [0]),
  ('atol', lambda x: ode.dormand_prince(0.0, x), [NAN, -1, 0], [1e-3]),
  ('max_steps', lambda x: ode.dormand_prince(max_steps=x), [0, 1.5], [1]),
  ('num_probes', probability_flow.hutchinson, [0, -1, 1.5], [1]),
  ('chunk', probability_flow.exact_trace, [0, -1, 1.5], [1]),
  ('decay', lambda x: step(decay=x), [NAN, -1, 1, 2], [0]),
  ('accumulate', lambda x: step(accumulate=x), [0, 1.5], [1]),
]


@pytest.mark.parametrize('name, make, refused, allowed', CASES)
def test_arguments_out_of_range_are_refused(name, make, refused, allowed):
  for value in refused:
    with pytest.raises(ValueError, match=f'^{name} must be .*, got '):
      make(value)
  for value in allowed:
    make(value)


def test_a_message_names_what_is_allowed_and_what_came():
  with pytest.raises(
    ValueError, match=r'^quantile must be in \(0, 1\], got 2$'
  ):
    guidance.dynamic_threshold(same, 2)
  with pytest.raises(
    ValueError, match='^x must be above 0 and finite, got nan$'
  ):
    checks.number('x', NAN, '(0, inf)')
  with pytest.raises(ValueError, match='^x must be at least 1, got 0$'):
    checks.whole('x', 0, 1)
  with pytest.raises(ValueError, match='^x must be a whole number at least 1'):
    checks.whole('x', 1.5, 1)


def test_an_array_must_lie_inside_and_a_traced_value_passes():
  checks.number('x', np.array([0.1, 0.9]), '(0, 1)')
  with pytest.raises(ValueError, match='x must be in'):
    checks.number('x', np.array([0.1, 1.0]), '(0, 1)')
  step = jax.jit(lambda eta: jnp.float32(samplers.ddim(COSINE, eta) is None))
  assert step(5.0) == 0
