import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import denoiser, law, strings
from exact import keys
from nets import jit

from jaxdiff import guidance, processes, samplers
from jaxdiff.samplers import categorical as around
from jaxdiff.samplers import unmasking as orders
from jaxdiff.schedules import mixing

SCHEDULE = mixing.linear()
PIS = {
  'absorbing': np.array([0.0, 0.0, 0.0, 1.0]),
  'uniform': np.full(3, 1 / 3),
}
PROCESSES = {
  'absorbing': processes.absorbing(SCHEDULE, 3),
  'uniform': processes.uniform(SCHEDULE, 3),
  'remasked': processes.remasked(SCHEDULE, 3, scale=0.7),
  'rate_matrix': processes.rate_matrix(SCHEDULE, PIS['uniform'], eta=1.0),
}
MASK = 3


def noise_of(name):
  return PIS['uniform' if name in ('uniform', 'rate_matrix') else 'absorbing']


def chain_law(name, p, num_steps):
  """The law of x0 drawn by ancestral steps, enumerated: [K^L]."""
  pi, process = noise_of(name), PROCESSES[name]
  denoise = denoiser(pi, SCHEDULE, p)
  every = strings(len(pi), p.ndim)
  start = pi[every].prod(-1).astype(np.float32)

  def step(q, ends):
    t, s = ends
    logits = denoise(every, jnp.full(len(every), t))
    posterior = jax.vmap(process.posterior, (0, 0, None, None))
    one = jnp.exp(posterior(every, logits, t, s))
    # A state the chain is never in may give anything.
    one = jnp.where((q > 0)[:, None, None], one, 0.0)
    to = jnp.ones((len(every), len(every)))
    for place in range(p.ndim):
      to *= one[:, place][:, every[:, place]]
    return q @ to, None

  times = jnp.linspace(1, 0, num_steps + 1)
  walk = jit(lambda q: jax.lax.scan(step, q, (times[:-1], times[1:]))[0])
  q = np.asarray(walk(start), np.float64)
  written = (every < 3).all(1)
  assert (q[~written] == 0).all()
  return q[written]


@pytest.mark.parametrize('name', PROCESSES)
def test_ancestral_steps_reach_the_joint_law(name):
  p = law()
  gaps = [
    np.abs(chain_law(name, p, num_steps) - p.ravel()).sum()
    for num_steps in (4, 64)
  ]
  # First order, as the elements of one step are drawn independently; where
  # a share of them is masked anew in each step, order 1/2.
  order = 0.5 if name == 'remasked' else 1.0
  assert gaps[1] < 0.02 and gaps[1] < gaps[0] / 16 ** (0.9 * order)


def draws(
  step, num, p, name='absorbing', num_steps=8, x_init=None, sampler=None
):
  """`num` samples with the exact denoiser, as indices of `strings`."""
  pi = noise_of(name)
  denoise = denoiser(pi, SCHEDULE, p)
  prior = lambda key: PROCESSES[name].prior(key, (p.ndim,))
  if x_init is None:
    x_init = jit(jax.vmap(prior))(keys(8, num))
  times = samplers.uniform_times(num_steps)
  run = sampler or samplers.sample
  x0 = jit(lambda k: run(step, denoise, k, x_init, times))(keys(9, num))
  assert (x0 < 3).all() and (x0 >= 0).all()
  return np.bincount(
    np.asarray(x0) @ 3 ** np.arange(p.ndim)[::-1], minlength=p.size
  )


def agrees(counts, p):
  """Chi-square at 0.1 %, by Wilson and Hilferty's normal approximation."""
  p = p.ravel()
  expected = counts.sum() * p
  assert (counts[p == 0] == 0).all()
  seen = p > 0
  chi = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
  dof = seen.sum() - 1
  v = 2 / (9 * dof)
  return ((chi / dof) ** (1 / 3) - (1 - v)) / np.sqrt(v) < 3.1


@pytest.mark.parametrize('name', PROCESSES)
def test_ancestral_draws_have_the_chains_law(name):
  step = samplers.ancestral(PROCESSES[name])
  counts = draws(step, 20_000, law(), name, 8)
  assert agrees(counts, chain_law(name, law(), 8))
  assert not agrees(counts, law(1))


def test_one_at_a_time_from_the_left_is_exact():
  step = orders.surest_first(SCHEDULE, 3, orders.left_to_right)
  counts = draws(step, 20_000, law(), num_steps=2)
  assert agrees(counts, law())


def test_blocks_of_one_are_autoregressive():
  sampler = lambda *args: around.sample_blocks(*args, 1)
  step = samplers.ancestral(PROCESSES['absorbing'])
  p = law(length=3)
  counts = draws(step, 20_000, p, num_steps=2, sampler=sampler)
  assert agrees(counts, p)


def test_blocks_are_written_in_turn_and_the_last_may_be_short():
  # Each writes how much was written when it was its turn.
  denoise = lambda xt, t: (
    50.0
    * jax.nn.one_hot(
      jnp.broadcast_to(jnp.sum(xt < 9, 1, keepdims=True), xt.shape), 10
    )
  )
  step = samplers.ancestral(processes.absorbing(SCHEDULE, 9))
  write = jit(
    lambda keys: around.sample_blocks(
      step, denoise, keys, jnp.full((2, 5), 9), [1.0, 0.0], 2
    )
  )
  x = write(keys(0, 2))
  np.testing.assert_array_equal(x, [[0, 0, 2, 2, 4]] * 2)


def test_in_blocks_the_surest_first_chooses_within_one():
  # Sure of the right of the text, then of the right of each block of three.
  sure = jnp.linspace(10.0, 16.0, 7)[None, :, None]
  denoise = lambda xt, t: (
    sure * jax.nn.one_hot(jnp.sum(xt < 9, 1, keepdims=True), 10)
  )
  step = orders.surest_first(SCHEDULE, 9)
  known = jnp.zeros((64, 7), bool).at[:, 4].set(True)
  x_init = jnp.full((64, 7), 9).at[:, 4].set(0)
  write = lambda size, times: around.sample_blocks(
    step,
    denoise,
    keys(0, 64),
    x_init,
    times,
    size,
    known,
  )
  three = jit(lambda: write(3, jnp.linspace(1, 0, 4)))()
  np.testing.assert_array_equal(three, [[3, 2, 1, 5, 0, 4, 6]] * 64)
  whole = jit(lambda: write(7, jnp.linspace(1, 0, 7)))()
  np.testing.assert_array_equal(whole, [[6, 5, 4, 3, 0, 2, 1]] * 64)


def test_the_way_through_the_blocks_ends_where_they_end():
  step = samplers.ancestral(PROCESSES['absorbing'])
  x_init = jnp.full((4, 5), MASK)
  logits = lambda xt, t: jnp.zeros((*xt.shape, 4))
  write = lambda trajectory: around.sample_blocks(
    step,
    logits,
    keys(0, 4),
    x_init,
    jnp.linspace(1, 0, 4),
    2,
    trajectory=trajectory,
  )
  way, last = jit(lambda: (write(True), write(False)))()
  assert way.shape == (1 + 3 * 3, 4, 5)
  np.testing.assert_array_equal(way[0], x_init)
  np.testing.assert_array_equal(way[-1], last)
  # What is written stays, and no block is begun before the one to its left.
  written = np.asarray(way) != MASK
  assert np.all(written[1:] >= written[:-1])
  assert not written[:4, :, 2:].any() and written[3, :, :2].all()
  assert not written[:7, :, 4].any() and written[6, :, :4].all()


def test_infilling_draws_the_conditional_law():
  p, num = law(length=3), 20_000
  x0 = jnp.broadcast_to(jnp.array([0, 1, 0]), (num, 3))
  known = jnp.broadcast_to(jnp.array([False, True, False]), (num, 3))
  x_init = around.place(jnp.full((num, 3), MASK), x0, known)
  step = orders.surest_first(SCHEDULE, 3, orders.left_to_right)
  held = around.hold(step, x0, known)
  counts = draws(held, num, p, num_steps=2, x_init=x_init)
  given = np.where(np.arange(3)[None, :, None] == 1, p, 0)
  assert agrees(counts, given / given.sum())


def test_hold_keeps_what_any_step_would_change():
  step = lambda denoiser, keys, xt, t, s: jnp.full_like(xt, 2)
  x0 = jnp.array([[0, -1, 1]])
  known = jnp.array([[False, True, False]])
  xs = samplers.sample(
    around.hold(step, x0, known), None, keys(0, 1), x0, [1.0, 0.5, 0.0]
  )
  np.testing.assert_array_equal(xs, [[2, -1, 2]])


def test_remasking_takes_back_and_keeps_the_marginals():
  process = processes.remasked(SCHEDULE, 3, cap=0.4)
  t, s = jnp.float32(0.5), jnp.float32(0.4)
  xt, x0 = jnp.array([1, MASK]), jnp.array([1, 1])
  posterior = jit(process.posterior)
  law_s = np.exp(posterior(xt, x0, t, s))
  np.testing.assert_allclose(law_s[0, MASK], 0.4, rtol=1e-6)
  np.testing.assert_allclose(0.5 * law_s.sum(0)[1], 0.6, rtol=1e-6)
  # Nothing is taken back in a step to nowhere, or to clean data.
  assert (np.exp(posterior(xt, x0, t, t))[1] == [0, 0, 0, 1]).all()
  assert (np.exp(posterior(xt, x0, t, jnp.float32(0)))[:, 1] == 1).all()
  never = processes.remasked(SCHEDULE, 3, when=lambda t: t < 0.3)
  plain = jit(PROCESSES['absorbing'].posterior)(xt, x0, t, s)
  ours = jit(never.posterior)(xt, x0, t, s)
  np.testing.assert_allclose(ours, plain, atol=1e-6)


def test_guided_logits_are_the_tempered_product():
  c, u = (jax.random.normal(jax.random.key(i), (1, 2, 4)) for i in (0, 1))
  guided = guidance.classifier_free(lambda x, t: c, lambda x, t: u, 2.5)
  xt, t = jnp.full((1, 2), MASK), jnp.ones(1)
  ours = np.exp(
    PROCESSES['absorbing'].posterior(xt[0], guided(xt, t)[0], t[0], 0.0)
  )
  p, q = (np.exp(np.float64(x[0, :, :3])) for x in (c, u))
  truth = (p / p.sum(-1, keepdims=True)) ** 2.5
  truth *= (q / q.sum(-1, keepdims=True)) ** -1.5
  truth /= truth.sum(-1, keepdims=True)
  np.testing.assert_allclose(ours[:, :3], truth, rtol=1e-5)
