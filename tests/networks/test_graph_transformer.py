"""The graph transformer: what it is told, and that names of nodes are none."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from nets import assert_same_values_and_grads, forward, jit, random_params
from nets import shapes as param_shapes

from jaxdiff.networks import graph_features
from jaxdiff.networks.graph_transformer import GraphTransformer

SIZES = (6, 4, 1)
N = 6


def graphs(sizes=SIZES, size=N, kinds=3, seed=0):
  """(xt, mask) of random graphs, padded to `size`."""
  rng = np.random.default_rng(seed)
  shape = (len(sizes), max(sizes))
  grow = size - max(sizes)
  pad = lambda x: np.pad(x, [(0, 0)] + [(0, grow)] * (x.ndim - 1))
  exists = np.arange(max(sizes)) < np.array(sizes)[:, None]
  pairs = exists[:, :, None] & exists[:, None, :]
  pairs &= ~np.eye(max(sizes), dtype=bool)
  edges = rng.integers(0, kinds, (*shape, shape[1]))
  edges = np.triu(edges) * pairs
  nodes = rng.integers(0, 4, shape) * exists
  xt = {'nodes': nodes, 'edges': edges + edges.swapaxes(1, 2)}
  mask = {'nodes': exists, 'edges': pairs}
  as_jax = lambda tree: {k: jnp.asarray(pad(v)) for k, v in tree.items()}
  return as_jax(xt), as_jax(mask)


def tiny(**settings):
  known = dict(width=8, edge_width=4, global_width=6, depth=2, num_heads=2)
  return GraphTransformer(4, 3, **(known | settings))


def strong_params(net, *args):
  """Random, and so large that what is passed on is not lost on the way."""
  return jax.tree.map(lambda p: 3 * p, random_params(net, *args))


@pytest.fixture(scope='module')
def network():
  net = tiny(num_classes=2)
  xt, mask = graphs()
  label = jnp.array([0, 1, 2])
  t = jnp.array([0.1, 0.5, 0.9])
  args = (xt, t, {'mask': mask, 'label': label})
  params = strong_params(net, *args)
  apply = forward(net)
  return args, params, apply, apply(params, *args)


def test_edges_are_symmetric_and_what_does_not_exist_is_0(network):
  (_, _, cond), _, _, out = network
  mask = cond['mask']
  assert out['nodes'].shape == (3, N, 4) and out['edges'].shape == (3, N, N, 3)
  np.testing.assert_array_equal(out['edges'], out['edges'].swapaxes(1, 2))
  np.testing.assert_array_equal(out['edges'][~mask['edges']], 0)
  np.testing.assert_array_equal(out['nodes'][~mask['nodes']], 0)
  assert np.abs(out['edges'][mask['edges']]).min() > 0


def test_permuting_nodes_permutes_logits(network):
  (xt, t, cond), params, apply, out = network
  # One order an example: those that do not exist land anywhere.
  order = np.stack([np.random.default_rng(i).permutation(N) for i in range(3)])

  def permuted(tree):
    edges = [e[o][:, o] for e, o in zip(tree['edges'], order, strict=True)]
    nodes = [n[o] for n, o in zip(tree['nodes'], order, strict=True)]
    return {'nodes': jnp.stack(nodes), 'edges': jnp.stack(edges)}

  cond = cond | {'mask': permuted(cond['mask'])}
  moved = apply(params, permuted(xt), t, cond)
  for name, want in permuted(out).items():
    np.testing.assert_allclose(moved[name], want, atol=2e-4)
  # And it is not that all nodes are treated alike.
  assert np.abs(moved['nodes'][0] - out['nodes'][0]).max() > 0.01


def test_padding_changes_nothing(network):
  (xt, t, cond), params, apply, out = network
  wide, mask = graphs(size=N + 3)
  padded = apply(params, wide, t, cond | {'mask': mask})
  np.testing.assert_allclose(padded['nodes'][:, :N], out['nodes'], atol=2e-4)
  np.testing.assert_allclose(
    padded['edges'][:, :N, :N], out['edges'], atol=2e-4
  )
  # Nor does what stands where nothing exists.
  noise = jnp.where(mask['nodes'], wide['nodes'], 3)
  other = apply(params, wide | {'nodes': noise}, t, cond | {'mask': mask})
  np.testing.assert_array_equal(other['nodes'], padded['nodes'])


def test_everything_is_listened_to(network):
  (xt, t, cond), params, apply, out = network
  changed = {
    'nodes': (xt | {'nodes': (xt['nodes'] + 1) % 4}, t, cond),
    'edges': (xt | {'edges': (xt['edges'] * 2) % 3}, t, cond),
    't': (xt, 1 - t, cond),
    'label': (xt, t, cond | {'label': (cond['label'] + 1) % 3}),
  }
  for name, args in changed.items():
    other = apply(params, *args)
    for part in ('nodes', 'edges'):
      # The example in the middle has t = 1/2 both ways.
      assert np.abs(other[part] - out[part])[0].max() > 1e-3, (name, part)


@pytest.mark.slow
def test_alike_nodes_and_no_mask(network):
  net = GraphTransformer(None, 2, 8, 4, 6, 1, 2)
  xt, mask = graphs(sizes=(5, 5), size=5, kinds=2)
  xt, t = {'edges': xt['edges']}, jnp.array([0.2, 0.7])
  params = strong_params(net, xt, t)
  out = forward(net)(params, xt, t)
  assert set(out) == {'edges'}
  masked = forward(net)(params, xt, t, {'mask': {'edges': mask['edges']}})
  np.testing.assert_array_equal(masked['edges'], out['edges'])


def test_a_new_network_says_nothing():
  net, (xt, mask) = tiny(), graphs()
  args = (xt, jnp.full(3, 0.5), {'mask': mask})
  out, _ = jit(net.init_with_output)(jax.random.key(0), *args)
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(out))


@pytest.mark.slow
def test_without_features_cycles_are_not_seen():
  """A hexagon and two triangles: alike to attention, not to the features."""
  hexagon = nx.to_numpy_array(nx.cycle_graph(6), dtype=int)
  triangles = np.kron(np.eye(2, dtype=int), 1 - np.eye(3, dtype=int))
  xt, t = {'edges': jnp.stack([hexagon, triangles])}, jnp.full(2, 0.5)
  for seeing in ({'features': True}, {'walks': 4}, {}):
    known = {'features': False} | seeing
    net = GraphTransformer(None, 2, 8, 4, 6, 2, 2, **known)
    params = strong_params(net, xt, t)
    edges = forward(net)(params, xt, t)['edges']
    apart = abs(edges[0, 0, 1] - edges[1, 0, 1]).max()
    assert apart > 0.01 if seeing else apart < 1e-5


def test_walks_are_powers_of_the_transition_matrix():
  a = np.zeros((1, 6, 6), bool)
  for i, j in ((0, 1), (1, 2), (2, 0), (2, 3)):  # node 4 is alone, 5 no node
    a[0, i, j] = a[0, j, i] = True
  exists = np.array([[True] * 5 + [False]])
  nodes, edges = graph_features.walks(jnp.asarray(a), jnp.asarray(exists), 4)
  once = a[0] / np.maximum(a[0].sum(-1, keepdims=True), 1)
  for k in range(4):
    power = np.linalg.matrix_power(once, k) * (exists[0] if k == 0 else 1)
    np.testing.assert_allclose(
      edges[0, :, :, k], (power + power.T) / 2, atol=1e-6
    )
    np.testing.assert_allclose(nodes[0, :, k], np.diag(power), atol=1e-6)
  assert not edges[0, 5].any() and not nodes[0, 5].any()
  order = np.array([3, 1, 5, 0, 4, 2])
  _, permuted = graph_features.walks(
    jnp.asarray(a[:, order][:, :, order]), jnp.asarray(exists[:, order]), 4
  )
  np.testing.assert_allclose(permuted[0], edges[0][order][:, order], atol=1e-6)


def test_a_masked_edge_is_no_edge():
  """Told apart from 0 by its own weights alone, not by the features."""
  hidden, t = {'edges': graphs(kinds=3)[0]['edges']}, jnp.full(3, 0.5)
  none = {'edges': jnp.where(hidden['edges'] == 2, 0, hidden['edges'])}
  for edge_mask in (2, None):
    net = GraphTransformer(None, 3, 8, 4, 6, 1, 2, edge_mask=edge_mask)
    params = strong_params(net, hidden, t)
    # The first three rows are those of the categories.
    rows = params['edge_in']['kernel']
    params['edge_in']['kernel'] = rows.at[2].set(rows[0])
    apply = forward(net)
    one, other = (apply(params, xt, t)['edges'] for xt in (hidden, none))
    apart = jnp.abs(one - other).max()
    assert apart < 1e-5 if edge_mask else apart > 1e-2, (edge_mask, apart)


@pytest.mark.slow
def test_remat_and_bfloat16():
  xt, mask = graphs(sizes=(4, 3), size=4)
  args = (xt, jnp.array([0.3, 0.6]), {'mask': mask})
  net = tiny(depth=1)
  params = strong_params(net, *args)

  def results(net):
    def loss(params):
      out = net.apply({'params': params}, *args)
      return sum(jnp.mean(leaf**2) for leaf in out.values())

    return jit(jax.value_and_grad(loss))(params)

  exact = results(net)
  assert_same_values_and_grads(exact, results(tiny(depth=1, remat=True)))
  assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(exact[1]))
  out = forward(tiny(depth=1, dtype=jnp.bfloat16))(params, *args)
  full = forward(net)(params, *args)
  for name in full:
    assert out[name].dtype == jnp.float32
    scale = jnp.abs(full[name]).max()
    assert jnp.abs(out[name] - full[name]).max() < 0.1 * scale


def test_published_size():
  """DiGress's planar setting, but for the width of the pairs, is 4 million."""
  net = GraphTransformer(None, 2, 256, 64, 64, 10, 8)
  xt = {'edges': jnp.zeros((1, 64, 64), jnp.int32)}
  sizes = [s.size for s in jax.tree.leaves(param_shapes(net, xt, jnp.zeros(1)))]
  assert 3e6 < sum(sizes) < 8e6


@pytest.mark.parametrize(
  'settings, words',
  [
    (dict(width=9), 'multiples of num_heads'),
    (dict(depth=0), 'depth must be at least 1'),
    (dict(dtype=jnp.float16), 'float32 or bfloat16'),
    (dict(global_width=0), 'global_width'),
    (dict(num_classes=2), "'label' is missing"),
  ],
)
def test_refused_settings(settings, words):
  xt, mask = graphs()
  with pytest.raises(ValueError, match=words):
    param_shapes(tiny(**settings), xt, jnp.zeros(3), {'mask': mask})


def test_refused_inputs():
  (xt, mask), t = graphs(), jnp.zeros(3)
  with pytest.raises(ValueError, match='node_categories=4'):
    param_shapes(tiny(), {'edges': xt['edges']}, t)
  with pytest.raises(ValueError, match='t \\[B\\], got'):
    param_shapes(tiny(), xt, jnp.zeros(2))
  with pytest.raises(ValueError, match=r"cond\['mask'\] must be like xt"):
    param_shapes(tiny(), xt, t, {'mask': mask['nodes']})


def all_cycles(graph):
  """[n, 3] through each node of length 3, 4, 5; [4] in all, 3 to 6."""
  through, total = np.zeros((len(graph), 3)), np.zeros(4)
  for cycle in nx.simple_cycles(graph, length_bound=6):
    total[len(cycle) - 3] += 1
    if len(cycle) < 6:
      through[cycle, len(cycle) - 3] += 1
  return through, total


def test_cycles_are_those_enumerated():
  made = [nx.gnp_random_graph(8, p, seed=3) for p in (0.3, 0.6, 1.0)]
  a = np.stack([nx.to_numpy_array(graph) for graph in made])
  through, total = graph_features.cycles(jnp.asarray(a, jnp.float32))
  for i, graph in enumerate(made):
    want = all_cycles(graph)
    np.testing.assert_array_equal(through[i], want[0])
    np.testing.assert_array_equal(total[i], want[1])


def test_components_and_spectrum_are_networkx_s():
  graph = nx.disjoint_union(nx.path_graph(4), nx.complete_graph(3))
  graph.add_node(7)
  a = np.zeros((1, 10, 10), np.float32)
  a[0, :8, :8] = nx.to_numpy_array(graph)
  exists = jnp.arange(10)[None] < 8
  joined = graph_features.connected(jnp.asarray(a))[0]
  for part in nx.connected_components(graph):
    np.testing.assert_array_equal(np.flatnonzero(joined[min(part)]), list(part))
  values, heat = graph_features.spectrum(jnp.asarray(a), exists)
  laplacian = nx.normalized_laplacian_matrix(graph).toarray()
  want, vectors = np.linalg.eigh(laplacian)
  np.testing.assert_allclose(
    values[0], want[1 : 1 + graph_features.NUM_EIGENVALUES], atol=1e-5
  )
  for i, tau in enumerate(graph_features.HEAT_TIMES):
    kernel = (vectors * np.exp(-tau * want)) @ vectors.T
    np.testing.assert_allclose(heat[0, :8, :8, i], kernel, atol=1e-5)


def test_dropout_is_of_training_alone():
  xt, mask = graphs()
  args = (xt, jnp.array([0.1, 0.5, 0.9]), {'mask': mask})
  net = tiny(dropout=0.5)
  params = strong_params(net, *args)
  plain = forward(net)(params, *args)
  same = forward(tiny())(params, *args)
  np.testing.assert_array_equal(plain['edges'], same['edges'])
  train = forward(net, train=True)
  keys = lambda seed: {'dropout': jax.random.key(seed)}
  drop = lambda seed: train(params, *args, rngs=keys(seed))['edges']
  assert float(jnp.abs(drop(0) - plain['edges']).max()) > 1e-3
  assert float(jnp.abs(drop(0) - drop(1)).max()) > 1e-3
  np.testing.assert_array_equal(drop(0), drop(0).swapaxes(1, 2))
