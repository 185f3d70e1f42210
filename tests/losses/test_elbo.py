import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import denoiser, law, noised, posterior, strings
from exact import keys
from nets import jit

from jaxdiff import losses, processes
from jaxdiff.losses import elbo
from jaxdiff.processes import transitions
from jaxdiff.schedules import mixing

P = law()
X0 = strings(3, 2)
SCHEDULE = mixing.linear()
PIS = {
  'absorbing': np.array([0.0, 0.0, 0.0, 1.0]),
  'uniform': np.full(3, 1 / 3),
  'marginal': np.array([0.2, 0.5, 0.3]),
}


def exact(noise, schedule=SCHEDULE):
  """(process, exact denoiser, every xt) of one kind of noise."""
  pi = PIS[noise]
  return (
    processes.categorical(schedule, pi),
    denoiser(pi, schedule, P),
    strings(len(pi), 2),
  )


def expected_rate(noise, t, schedule=SCHEDULE, ratios=None):
  """E over xt of the process's rate, for every x0, [9] nats; t scalar."""
  process, denoise, every = exact(noise, schedule)
  if ratios:
    process = processes.categorical(schedule, PIS[noise], 'log_ratios')
  estimate = (ratios or denoise)(every, jnp.full(len(every), t))
  rate = jax.vmap(process.terms.rate, (0, None, 0, None))
  each = jax.vmap(rate, (None, 0, None, None))(every, X0, estimate, t)
  q = noised(PIS[noise], schedule(t).alpha, X0[:, None], every[None])
  return jnp.sum(jnp.where(q > 0, q * each.sum(-1), 0.0), -1)


def integral(rate, num=24):
  """Over t in (0, 1), by Gauss in t^(1/4): like log t the rates rise at 0."""
  nodes, weights = np.polynomial.legendre.leggauss(num)
  u = 0.5 * (nodes + 1)
  at = jit(jax.vmap(rate))(jnp.asarray(u**4, jnp.float32))
  return np.einsum('t,tx->x', 2 * u**3 * weights, np.asarray(at, np.float64))


@pytest.mark.parametrize('noise', PIS)
def test_the_exact_denoisers_bayes(noise):
  _, denoise, every = exact(noise)
  bayes = jit(lambda xt, t: jax.nn.softmax(denoise(xt, t)))
  ours = bayes(every, jnp.full(len(every), 0.4))
  truth = posterior(PIS[noise], 0.6, P, every)
  np.testing.assert_allclose(ours, truth, atol=1e-6)


@pytest.mark.parametrize('noise', PIS)
def test_in_continuous_time_the_bound_is_the_likelihood(noise):
  # With the exact p(x0 | xt) and no two jumps at once the model's paths are
  # the data's, and the gap is 0 for each string, not on average alone.
  nats = integral(lambda t: expected_rate(noise, t))
  np.testing.assert_allclose(nats, -np.log(P.ravel()), rtol=2e-4)


@pytest.mark.parametrize('noise', ['absorbing', 'uniform'])
def test_the_schedule_does_not_change_the_continuous_bound(noise):
  nats = integral(lambda t: expected_rate(noise, t, mixing.cosine()))
  np.testing.assert_allclose(nats, -np.log(P.ravel()), rtol=1e-3)


def true_ratios(noise):
  """log p_t(x with x^l = j) / p_t(x), enumerated: a denoiser of log-ratios."""
  num = len(PIS[noise])
  every = strings(num, 2)
  pi = jnp.asarray(PIS[noise], jnp.float32)

  def ratios(xt, t):
    alpha = 1 - t[0]
    same = X0[:, None] == every[None]
    one = alpha * same + (1 - alpha) * pi[every][None]
    p_t = jnp.asarray(P.ravel(), jnp.float32) @ jnp.prod(one, -1)
    table = p_t.reshape(num, num)
    both = jnp.stack([table[:, xt[:, 1]].T, table[xt[:, 0]]], 1)
    return transitions.log(both / table[xt[:, 0], xt[:, 1]][:, None, None])

  return ratios


@pytest.mark.parametrize('noise', PIS)
def test_score_entropy_of_the_true_ratios_is_the_likelihood(noise):
  ratios = true_ratios(noise)
  nats = integral(lambda t: expected_rate(noise, t, ratios=ratios))
  np.testing.assert_allclose(nats, -np.log(P.ravel()), rtol=1e-3)


@pytest.mark.parametrize('noise', PIS)
def test_the_true_ratios_reverse_as_the_exact_denoiser_does(noise):
  process, denoise, every = exact(noise)
  scores = processes.categorical(SCHEDULE, PIS[noise], 'log_ratios')
  t, s = jnp.float32(0.6), jnp.float32(0.4)

  def reverse(process, denoise):
    posterior = jax.vmap(process.posterior, (0, 0, None, None))
    return posterior(every, denoise(every, jnp.full(len(every), t)), t, s)

  both = jit(
    lambda: (reverse(scores, true_ratios(noise)), reverse(process, denoise))
  )
  ours, truth = both()
  np.testing.assert_allclose(np.exp(ours), np.exp(truth), atol=2e-6)


def test_masked_nelbo_is_the_weighted_cross_entropy():
  process = processes.absorbing(mixing.cosine(), 3)
  logits = jax.random.normal(jax.random.key(0), (2, 4))
  xt, x0, t = jnp.array([3, 1]), jnp.array([2, 1]), jnp.float32(0.3)
  # alpha' / (1 - alpha) log p: the textbook's, in float64.
  slope = -0.5 * np.pi * np.cos(0.5 * np.pi * 0.3)
  log_p = np.float64(jax.nn.log_softmax(logits[0, :3]))[2]
  textbook = slope / np.sin(0.5 * np.pi * 0.3) * log_p
  ours = jit(process.terms.rate)(xt, x0, logits, t)
  np.testing.assert_allclose(ours, [textbook, 0.0], rtol=1e-5)


@pytest.mark.parametrize('noise', PIS)
def test_rate_is_the_limit_of_steps(noise):
  process, _, _ = exact(noise)
  num = len(PIS[noise])
  x0, t = jnp.array([0, 2, 1]), jnp.float32(0.5)
  xt = jnp.array([num - 1, 0, 1])
  logits = jax.random.normal(jax.random.key(1), (3, num))
  h = 2.0**-9

  @jit
  def both(logits):
    step = process.terms.step(xt, x0, logits, t, t - h) / h
    return process.terms.rate(xt, x0, logits, t), step

  rate, step = both(logits)
  possible = (PIS[noise][xt] > 0) | (xt == x0)
  np.testing.assert_allclose(rate[possible], step[possible], rtol=0.02)


def apply(params, xt, t, cond, dropout_key=None):
  del cond, dropout_key
  # -1 is nothing's one-hot: how a network may see what does not exist.
  onehot = jax.nn.one_hot(xt, params.shape[0])
  return onehot @ params + t[:, None, None]


PARAMS = jax.random.normal(jax.random.key(5), (4, 4))


def every_loss():
  absorbing = processes.absorbing(SCHEDULE, 3)
  uniform = processes.uniform(mixing.cosine(), 4)
  return {
    'nelbo absorbing': elbo.nelbo(apply, absorbing),
    'nelbo uniform': elbo.nelbo(apply, uniform),
    'nelbo ratios': elbo.nelbo(
      apply,
      processes.categorical(SCHEDULE, np.full(4, 0.25), 'log_ratios'),
    ),
    'vb': elbo.variational(apply, uniform, 10),
    'hybrid': elbo.variational(apply, absorbing, 10, 0.1),
    'ce': elbo.cross_entropy(apply, uniform),
  }


@pytest.mark.parametrize('name', every_loss())
def test_padding_is_neither_counted_nor_felt(name):
  loss = every_loss()[name]
  x0 = jnp.array([[0, 1, 2, 0], [2, 2, 1, 0]])
  mask = jnp.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
  u = jnp.array([0.3, 0.6])

  def value(params, x0):
    per_example, _ = loss(params, keys(0, 2), {'x0': x0, 'mask': mask, 'u': u})
    return jnp.sum(per_example), per_example

  grad = jit(jax.grad(value, has_aux=True))
  gradient, plain = grad(PARAMS, x0)
  assert jnp.all(jnp.isfinite(plain)) and jnp.all(jnp.isfinite(gradient))
  assert jnp.any(gradient != 0) and jnp.any(plain > 0)
  for pad in (-1, 3):
    padded_gradient, padded = grad(PARAMS, jnp.where(mask, x0, pad))
    np.testing.assert_allclose(padded, plain, rtol=1e-6)
    np.testing.assert_allclose(padded_gradient, gradient, rtol=1e-5, atol=1e-6)


def test_a_loss_divides_by_the_real_elements_or_by_a_length():
  uniform = processes.uniform(SCHEDULE, 4)
  x0, mask = jnp.ones((1, 4), jnp.int32), jnp.array([[1, 1, 1, 0]], bool)
  batch = {'x0': x0, 'mask': mask, 'u': jnp.array([0.5])}
  own, fixed = (
    elbo.cross_entropy(apply, uniform, length=length) for length in (None, 4)
  )
  value = jit(lambda: [f(PARAMS, keys(0, 1), batch)[0] for f in (own, fixed)])
  own, fixed = value()
  np.testing.assert_allclose(own / fixed, 4 / 3, rtol=1e-6)


@pytest.mark.parametrize('noise', PIS)
def test_rates_and_gradients_are_finite_at_both_ends(noise):
  process, _, _ = exact(noise)
  num = len(PIS[noise])
  x0 = jnp.array([0, 1])
  logits = 30 * jax.random.normal(jax.random.key(2), (2, num))

  @jit
  def both(logits, xt, t):
    total = lambda logits: jnp.sum(process.terms.rate(xt, x0, logits, t))
    return jax.value_and_grad(total)(logits)

  end = jnp.full(2, num - 1)
  for xt, t in ((x0, 0.0), (x0, 1e-6), (end, 1e-3), (end, 1 - 1e-7), (end, 1)):
    value, gradient = both(logits, xt, jnp.float32(t))
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))
    assert value >= -1e-5


def test_hybrid_is_the_bound_and_the_cross_entropy():
  process = processes.uniform(SCHEDULE, 4)
  batch = {'x0': jnp.array([[0, 1, 2, 0]]), 'u': jnp.array([0.55])}
  every = (
    elbo.variational(apply, process, 10),
    elbo.variational(apply, process, 10, 0.3),
    elbo.cross_entropy(apply, process, losses.time_sampling.grid(10)),
  )
  values = jit(lambda: [loss(PARAMS, keys(0, 1), batch)[0] for loss in every])
  bound, hybrid, error = values()
  np.testing.assert_allclose(hybrid, bound + 0.3 * error, rtol=1e-5)


def test_a_process_without_terms_is_refused():
  process = processes.remasked(SCHEDULE, 3)
  with pytest.raises(ValueError, match='needs a process with terms'):
    elbo.nelbo(apply, process)
