"""Block diffusion: blocks of one and of all, what is seen, loss, samples."""

import categories
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from enumerated import strings
from exact import keys
from nets import jit

from jaxdiff import likelihood, models
from jaxdiff.generation.sampler import make_sampler, traced_options

SPEC = tiny.text_spec(4)  # three characters, and MASK
EVERY = jnp.asarray(strings(3, 4))


def config_of(block, **sampling):
  config = tiny.changed(categories.TEXT, network={'block': block})
  return categories.with_sampling(config, **sampling)


def params_of(config):
  return tiny.random_params(config, SPEC, 0.4)


@pytest.fixture(scope='module')
def params():
  return params_of(config_of(None))


def test_blocks_change_no_parameter(params):
  shapes = jax.tree.map(jnp.shape, params)
  assert jax.tree.map(jnp.shape, params_of(config_of(2))) == shapes


def bits_of_all(block, params, times):
  """Bits of every text at one draw of the noise."""
  model = models.make(config_of(block), SPEC)

  def bound(x0):
    cond = {} if block is None else {'past': x0}
    estimator = model.estimator(params, cond)
    return likelihood.variational_bound(
      model.process, estimator, keys(0, len(x0)), x0, times
    ).total

  return 4 * np.asarray(jit(bound)(EVERY), np.float64)


def test_a_block_of_one_is_autoregressive_and_its_bound_exact(params):
  """Of one step, in which all is masked: the chain rule, one place a time."""
  bits = bits_of_all(1, params, [1.0, 0.0])
  np.testing.assert_allclose(np.exp2(-bits).sum(), 1.0, rtol=1e-4)
  denoiser = models.make(config_of(1), SPEC).denoiser(params, {})
  log_p, t = np.zeros(len(EVERY)), jnp.ones(len(EVERY))
  run = jit(denoiser)
  for place in range(4):
    # The rest is of another text.
    before = jnp.where(jnp.arange(4)[None] < place, EVERY, (EVERY + place) % 3)
    logits = run(before.at[:, place].set(3), t)[:, place, :3]
    log_p += np.take_along_axis(
      np.asarray(jax.nn.log_softmax(logits)),
      np.asarray(EVERY[:, place, None]),
      axis=1,
    )[:, 0]
  np.testing.assert_allclose(bits, -log_p / np.log(2), rtol=1e-4)
  # Without the blocks before, it would be less likely on average.
  assert np.ptp(bits) > 0.5


@pytest.mark.slow
def test_a_block_of_all_is_the_masked_model(params):
  times = [1.0, 0.7, 0.3, 0.0]
  plain, whole = (bits_of_all(block, params, times) for block in (None, 4))
  np.testing.assert_allclose(whole, plain, rtol=1e-4)
  assert np.abs(bits_of_all(2, params, times) - plain).max() > 0.1


def test_a_block_sees_itself_and_the_clean_blocks_before(params):
  model = models.make(config_of(2), SPEC)
  t = jnp.full(1, 0.5)
  logits = jit(lambda xt, x0: model.denoiser(params, {'past': x0})(xt, t)[0])
  xt, x0 = jnp.array([[3, 0, 3, 1]]), jnp.array([[2, 0, 1, 1]])
  base = logits(xt, x0)
  moved = lambda xt, x0: np.abs(logits(xt, x0) - base).max(-1) > 1e-5
  other = lambda x, place: x.at[0, place].set((x[0, place] + 1) % 3)
  places = {
    'xt': [moved(other(xt, place), x0) for place in range(4)],
    'x0': [moved(xt, other(x0, place)) for place in range(4)],
  }
  first, last = [True, True, False, False], [False, False, True, True]
  np.testing.assert_array_equal(places['xt'], [first, first, last, last])
  nothing = [False] * 4
  np.testing.assert_array_equal(places['x0'], [last, last, nothing, nothing])
  # In sampling the past is in xt: the same logits of the block that is written.
  written = jnp.concatenate([x0[:, :2], xt[:, 2:]], axis=1)
  alone = jit(model.denoiser(params, {}))(written, t)[0]
  np.testing.assert_allclose(alone[2:], base[2:], atol=1e-5)


def test_the_loss_of_one_step_is_the_likelihood(params):
  config = categories.with_diffusion(
    config_of(1), loss='variational', num_steps=1
  )
  model = models.make(config, SPEC)
  loss = jit(lambda keys: model.loss(params, keys, {'x0': EVERY})[0])
  bits = bits_of_all(1, params, [1.0, 0.0])
  nats = 4 * np.asarray(loss(keys(3, len(EVERY))))
  np.testing.assert_allclose(nats, bits * np.log(2), rtol=1e-4)


def test_samples_of_blocks_of_one_have_the_likelihoods_law(params):
  num = 4000
  x = categories.samples(
    config_of(1, steps=1), SPEC, range(num), params=params
  ).x
  index = np.asarray(x) @ 3 ** np.arange(3, -1, -1)
  found = np.bincount(index, minlength=81) / num
  p = np.exp2(-bits_of_all(1, params, [1.0, 0.0]))
  assert np.abs(found - p).sum() < 4 * np.sqrt(p * (1 - p) / num).sum()
  marginals = p.reshape(3, 3, 3, 3).sum((1, 2, 3))
  assert np.abs(marginals - 1 / 3).max() > 0.05


def test_masks_of_lengths_and_other_noise(params):
  config = categories.with_diffusion(
    categories.with_time(config_of(2)), process='uniform', schedule='cosine'
  )
  spec = tiny.text_spec(4, sizes=True)
  x, size = categories.samples(config, spec, range(8))
  assert (x[np.arange(4)[None] >= size[:, None]] == 0).all() and x.max() < 3


def test_blocks_that_there_are_not():
  with pytest.raises(ValueError, match='--sampling.block must be 2, as'):
    categories.with_sampling(config_of(2), block=3)
  config = categories.with_sampling(config_of(2), block=2)
  assert models.make(config, SPEC).block == 2
  longer = categories.with_sampling(config_of(99), block=None)
  with pytest.raises(ValueError, match=r'--network.block must be at most \d+,'):
    make_sampler(models.make(longer, SPEC), longer.sampling)


@pytest.mark.parametrize(
  'block, sizes, length',
  [
    pytest.param(1, False, 4, marks=pytest.mark.slow),
    (2, True, 4),
    pytest.param(4, False, 10, marks=pytest.mark.slow),
  ],
)
def test_a_finished_block_is_not_computed_again(block, sizes, length):
  """With its keys and values kept, samples are the same; the last is short."""
  spec = tiny.text_spec(length, sizes=sizes)
  config = tiny.changed(config_of(block, steps=3), network={'depth': 2})
  weights = tiny.random_params(config, spec, 0.4)
  model = models.make(config, spec)
  options, index = traced_options(config), np.arange(16)
  draw = lambda model: jit(make_sampler(model, config.sampling))(
    weights, options, index
  )
  again = draw(model._replace(memory=None))
  np.testing.assert_array_equal(draw(model).x, again.x)
  # A text with its past, in one pass, has the logits of its blocks in turn.
  memory, x = model.memory(weights, {}, 16), jnp.asarray(again.x)
  whole = jit(model.denoiser(weights, {}))(x, jnp.ones(16))
  kept = memory.kept
  for first in range(0, length - block + 1, block):
    part = x[:, first : first + block]
    read = model.denoiser(weights, {'kept': (*kept, first)})
    logits = jit(read)(part, jnp.ones(16))
    np.testing.assert_allclose(
      logits, whole[:, first : first + block], atol=1e-5
    )
    kept = memory.write(kept, part, first)


def test_the_cost_of_a_block_does_not_grow_with_the_past():
  def flops(length, kept):
    spec = tiny.text_spec(length)
    config = tiny.changed(config_of(2), network={'width': 64})
    model, params = models.make(config, spec), tiny.random_params(config, spec)
    cond = {'kept': (*model.memory(params, {}, 1).kept, 0)} if kept else {}
    x, t = jnp.zeros((1, 2 if kept else length), int), jnp.ones(1)
    run = jax.jit(lambda x, t: model.denoiser(params, cond)(x, t))
    return run.lower(x, t).compile().cost_analysis()['flops']

  # But for the products of its queries with the keys of the past.
  assert flops(32, True) < 1.15 * flops(16, True)
  assert flops(16, True) < 0.2 * flops(16, False)


def test_what_is_kept_needs_blocks_without_time(params):
  config = categories.with_time(config_of(2))
  assert models.make(config, SPEC).memory is None
  assert models.make(config_of(None), SPEC).memory is None
