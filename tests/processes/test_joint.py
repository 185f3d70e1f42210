import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import keys

from jaxdiff import likelihood, processes, samplers, schedules
from jaxdiff.losses import elbo as losses
from jaxdiff.samplers import categorical as around
from jaxdiff.schedules import mixing

SCHEDULE = mixing.cosine()
NODES = processes.categorical(SCHEDULE, [0.7, 0.2, 0.1])
EDGES = processes.categorical(SCHEDULE, [0.8, 0.2])
GRAPHS = processes.joint({'nodes': NODES, 'edges': processes.symmetric(EDGES)})
N = 4
SHAPE = {'nodes': (N,), 'edges': (N, N)}

corrupt = jax.jit(jax.vmap(GRAPHS.corrupt))


def prior(seed, num):
  draw = jax.vmap(lambda key: GRAPHS.prior(key, SHAPE))
  return jax.jit(draw)(keys(seed, num))


def graphs(num):
  edges = jnp.zeros((N, N), jnp.int32).at[0, 1].set(1).at[1, 2].set(1)
  x0 = {'nodes': jnp.array([0, 1, 2, 0]), 'edges': edges + edges.T}
  # The last node does not exist, nor do its edges.
  real = jnp.arange(N) < N - 1
  mask = {'nodes': real, 'edges': real[:, None] & real[None]}
  many = lambda x: jnp.broadcast_to(x, (num, *x.shape))
  return jax.tree.map(many, (x0, mask))


def logits(xt, t):
  del t
  edges = jax.nn.one_hot(xt['edges'], 2)
  return {
    'nodes': 1.5 * jax.nn.one_hot(xt['nodes'], 3),
    'edges': edges + jnp.swapaxes(edges, 1, 2),
  }


def test_graphs_stay_symmetric_with_an_empty_diagonal():
  num = 3
  path = jax.jit(
    lambda keys, x_init: samplers.sample(
      samplers.ancestral(GRAPHS),
      logits,
      keys,
      x_init,
      samplers.uniform_times(5),
      trajectory=True,
    )
  )(keys(1, num), prior(0, num))
  edges = np.asarray(path['edges'])
  assert edges.shape == (6, num, N, N) and edges.any()
  assert (edges == edges.swapaxes(-1, -2)).all()
  assert (np.diagonal(edges, axis1=-2, axis2=-1) == 0).all()
  x0, _ = graphs(num)
  xt = corrupt(keys(2, num), x0, jnp.full(num, 0.9))
  assert (xt['edges'] == jnp.swapaxes(xt['edges'], 1, 2)).all()
  log_probs = jax.jit(GRAPHS.posterior)(
    *(jax.tree.map(lambda x: x[0], x) for x in (xt, x0)),
    jnp.float32(0.9),
    jnp.float32(0.3),
  )['edges']
  np.testing.assert_array_equal(log_probs, jnp.swapaxes(log_probs, 0, 1))
  assert (np.exp(log_probs)[np.arange(N), np.arange(N)] == [1, 0]).all()


def test_edges_above_the_diagonal_have_the_leafs_law():
  num = 20_000
  x = prior(3, num)
  above = np.asarray(x['edges'])[:, *np.triu_indices(N, 1)]
  np.testing.assert_allclose(above.mean(0), 0.2, atol=4 * 0.4 / np.sqrt(num))
  # Neighbouring entries are drawn apart, and apart from the nodes.
  both = np.corrcoef(np.concatenate([above, x['nodes']], 1).T)
  assert np.abs(both - np.eye(len(both))).max() < 5 / np.sqrt(num)


def test_each_real_edge_and_node_is_counted_once():
  x0, mask = graphs(2)
  count = likelihood.elements(GRAPHS, x0, mask)
  np.testing.assert_array_equal(count, [3 + 3] * 2)
  # The sum over parts and elements of their own terms, by hand.
  t, s = jnp.float32(0.8), jnp.float32(0.3)
  xt = corrupt(keys(4, 2), x0, jnp.full(2, t))
  estimate = logits(xt, t)
  first = lambda tree: jax.tree.map(lambda x: x[0], tree)
  one = [first(x) for x in (xt, x0, estimate)]
  nats = jax.jit(GRAPHS.terms.step)(*one, t, s)
  total, _ = processes.tally(GRAPHS, nats, one[1], first(mask))
  node, edge = (jax.jit(part.terms.step) for part in (NODES, EDGES))
  hand = sum(node(*(x['nodes'][i] for x in one), t, s) for i in range(3)) + sum(
    edge(*(x['edges'][i, j] for x in one), t, s)
    for i, j in ((0, 1), (0, 2), (1, 2))
  )
  np.testing.assert_allclose(total, hand, rtol=1e-5)


def test_what_does_not_exist_is_held_in_training_and_sampling():
  num = 3
  x0, mask = graphs(num)
  x0 = jax.tree.map(lambda x, on: jnp.where(on, x, -1), x0, mask)

  def apply(params, xt, t, cond, dropout_key):
    del dropout_key
    # What the network sees where nothing exists is what the data has there.
    kept = jax.tree.map(
      lambda x, x0, on: jnp.all(on | (x == x0)), xt, x0, cond['mask']
    )
    params = jnp.where(kept['nodes'] & kept['edges'], params, jnp.nan)
    return jax.tree.map(lambda x: params * x, logits(xt, t))

  loss = losses.nelbo(apply, GRAPHS)
  batch = {'x0': x0, 'mask': mask, 'u': jnp.array([0.1, 0.5, 0.9])}
  value = lambda params: jnp.sum(loss(params, keys(5, num), batch)[0])
  total, gradient = jax.jit(jax.value_and_grad(value))(1.0)
  assert jnp.isfinite(total) and jnp.isfinite(gradient) and total > 0
  known = jax.tree.map(jnp.logical_not, mask)
  step = around.hold(samplers.ancestral(GRAPHS), x0, known)
  x_init = around.place(prior(6, num), x0, known)
  out = jax.jit(
    lambda keys: samplers.sample(
      step, logits, keys, x_init, samplers.uniform_times(3)
    )
  )(keys(7, num))
  assert (out['nodes'][:, -1] == -1).all()
  assert (out['edges'][:, -1] == -1).all() and (out['nodes'][:, :3] >= 0).all()


def test_a_part_without_terms_leaves_the_others_a_sampler():
  words = processes.remasked(SCHEDULE, 2)
  parts = {'x': processes.gaussian(schedules.cosine()), 'word': words}
  mixed = processes.joint(parts)
  assert mixed.terms is None
  x0 = {'x': jnp.zeros((2, 3)), 'word': jnp.zeros(2, jnp.int32)}
  xt = mixed.corrupt(jax.random.key(0), x0, jnp.float32(0.5))
  estimate = {'x': jnp.zeros((2, 3)), 'word': jnp.zeros((2, 3))}
  xs = mixed.reverse(jax.random.key(1), xt, estimate, jnp.float32(0.5), 0.2)
  assert xs['x'].shape == (2, 3) and xs['word'].shape == (2,)


def test_symmetric_wants_a_square():
  with pytest.raises(ValueError, match=r'\[N, N, ...\], got \(2, 3\)'):
    processes.symmetric(EDGES).prior(jax.random.key(0), (2, 3))
