"""Configurations of text, graphs and categories: built, refused, sampled."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import build, data
from jaxdiff.config import Diffusion, Network, Sampling, Transformer
from jaxdiff.infills import read_infills

MASKED = Diffusion(process='absorbing', schedule='linear', prediction='logits')
UNIFORM = dataclasses.replace(MASKED, process='uniform')
TEXT = tiny.shrunken(
  dataclasses.replace(
    tiny.config,
    diffusion=MASKED,
    network=Network(kind='transformer', transformer=Transformer(time=False)),
    sampling=Sampling(sampler='ancestral', steps=3, num=2),
  )
)
GRAPHS = dataclasses.replace(
  TEXT,
  diffusion=dataclasses.replace(MASKED, process='marginal'),
  network=dataclasses.replace(TEXT.network, kind='graph_transformer'),
)


def with_diffusion(config, **values):
  diffusion = dataclasses.replace(config.diffusion, **values)
  return dataclasses.replace(config, diffusion=diffusion)


def told(config):
  """With a network that is told t."""
  transformer = dataclasses.replace(config.network.transformer, time=True)
  network = dataclasses.replace(config.network, transformer=transformer)
  return dataclasses.replace(config, network=network)


def with_sampling(config, **values):
  sampling = dataclasses.replace(config.sampling, **values)
  return dataclasses.replace(config, sampling=sampling)


def numbers(config, spec, size=0.1):
  """Parameters without the time it takes to initialise a network."""
  task = build.make_task(config, spec)
  abstract = jax.eval_shape(task.init, jax.random.key(0)).params
  rng = np.random.default_rng(0)
  draw = lambda x: (size * rng.standard_normal(x.shape)).astype(x.dtype)
  return jax.tree.map(draw, abstract)


def drawn(config, spec, index=(0, 1, 2), params=None, **options):
  """Samples of a network of small random weights, or of `params`."""
  if params is None:
    params = numbers(config, spec)
  draw = jit(build.make_sampler(config, spec))
  asked = {**build.options(config), **options}
  return jax.tree.map(np.asarray, draw(params, asked, np.array(index)))


@pytest.mark.parametrize('process', ['absorbing', 'uniform', 'ordinal(1.0)'])
def test_every_category_is_drawn_and_nothing_else(process):
  config = with_diffusion(TEXT, process=process)
  config = config if process == 'absorbing' else told(config)
  x, size = drawn(config, tiny.text_spec(40), range(8))
  assert size is None and x.shape == (8, 40)
  assert set(np.unique(x)) == {0, 1, 2}  # no MASK is left


def test_a_sample_depends_on_seed_and_index_alone():
  spec = tiny.text_spec(12, sizes=True)
  many = drawn(TEXT, spec, range(4))
  one = drawn(TEXT, spec, [3, 3, 3, 3])
  np.testing.assert_array_equal(many.x[3], one.x[0])
  assert many.size[3] == one.size[0]
  assert (drawn(TEXT, spec, range(4), seed=1).x != many.x).any()


def test_sizes_follow_their_law_and_nothing_is_written_beyond():
  law = np.array([0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0])
  spec = tiny.text_spec(6, sizes=True)._replace(sizes=tuple(law))
  x, size = drawn(with_sampling(TEXT, steps=1), spec, range(400))
  counts = np.bincount(size, minlength=7)
  assert counts[[0, 2, 3, 5, 6]].sum() == 0
  # Five standard deviations of 400 coins.
  assert abs(counts[1] - 200) < 50
  beyond = np.arange(6) >= size[:, None]
  assert (x[beyond] == 0).all() and (x[~beyond] > 0).any()


def test_graphs_are_symmetric_within_their_size():
  spec = tiny.graph_spec(6, kinds=3, sizes=True)
  x, size = drawn(GRAPHS, spec, range(16))
  edges, nodes = x['edges'], x['nodes']
  np.testing.assert_array_equal(edges, edges.swapaxes(1, 2))
  exists = np.arange(6) < size[:, None]
  pairs = exists[:, :, None] & exists[:, None, :] & ~np.eye(6, dtype=bool)
  assert (edges[~pairs] == 0).all() and (edges[pairs] == 1).any()
  assert (nodes[~exists] == 0).all() and len(np.unique(nodes)) == 3


@pytest.mark.parametrize(
  'diffusion, block',
  [(MASKED, None), (MASKED, 2), (UNIFORM, None)],
  ids=['masks', 'masks in blocks', 'uniform'],
)
def test_what_is_given_stays_and_the_rest_is_drawn(diffusion, block):
  config = with_sampling(TEXT, block=block)
  config = told(config) if diffusion is UNIFORM else config
  config = dataclasses.replace(config, diffusion=diffusion)
  spec = tiny.text_spec(5)
  given = read_infills(spec, 'c_c', None)
  x = drawn(config, spec, range(60), given=given.arrays).x
  assert (x[:, [0, 2]] == 2).all()
  assert set(np.unique(x[:, [1, 3, 4]])) == {0, 1, 2}


def test_infills_are_as_long_as_they_are_where_lengths_differ():
  spec = tiny.text_spec(5, sizes=True)
  given = read_infills(spec, 'c_', None)
  x, size = drawn(TEXT, spec, range(4), given=given.arrays)
  assert (size == 2).all() and (x[:, 2:] == 0).all() and (x[:, 0] == 2).all()


def test_infills_that_the_model_cannot_have(tmp_path):
  read = lambda text=None, file=None, blank='_': read_infills(
    tiny.text_spec(5), text, file and str(file), blank
  )
  assert read() is None
  with pytest.raises(ValueError, match=r"outside the vocabulary: \['#', 'é'\]"):
    read('aé#')
  with pytest.raises(ValueError, match='writes 1 to 5 characters, got 6'):
    read('aaaaaa')
  with pytest.raises(ValueError, match='not both'):
    read('a', 'f')
  with pytest.raises(ValueError, match='cannot stand for MASK'):
    read('a', blank='b')
  with pytest.raises(FileNotFoundError, match='no file of infills'):
    read(file=tmp_path / 'none')
  lines = tmp_path / 'lines'
  lines.write_text('a_\n__c\n')
  both = read(file=lines)
  assert both.texts == ['a_', '__c'] and both.arrays['x0'].shape == (2, 5)
  lines.write_text('a_\n\nc\n')
  with pytest.raises(ValueError, match='got 0 to infill in line 2'):
    read(file=lines)
  with pytest.raises(ValueError, match='for a model of text'):
    read_infills(tiny.SPEC, 'a', None)


def test_temperature_near_zero_draws_the_likeliest():
  spec = tiny.text_spec(6)
  # Of all weights only the last bias: the logits are what it is.
  leaves, tree = jax.tree.flatten(numbers(TEXT, spec, size=0.0))
  (last,) = [i for i, leaf in enumerate(leaves) if leaf.shape == (4,)]
  leaves[last][1] = 0.1
  params = jax.tree.unflatten(tree, leaves)
  warm = drawn(TEXT, spec, range(20), params, temperature=1.0).x
  cold = drawn(TEXT, spec, range(20), params, temperature=1e-3).x
  assert (cold == 1).all() and len(np.unique(warm)) == 3


def test_samplers_that_choose_what_to_unmask():
  spec = tiny.text_spec(6)
  for sampler in (
    'surest_first',
    "surest_first('margin', 0.5)",
    'remasked(0.5)',
  ):
    x = drawn(with_sampling(TEXT, sampler=sampler), spec).x
    assert x.max() < 3
  one_by_one = with_sampling(
    TEXT, sampler="surest_first('left_to_right')", steps=6
  )
  draw = jit(build.make_sampler(one_by_one, spec, trajectory=True))
  params = numbers(TEXT, spec)
  path = np.asarray(draw(params, build.options(TEXT), np.arange(2)).x)
  masked = (path == 3).sum(-1)
  np.testing.assert_array_equal(masked, np.tile([6, 5, 4, 3, 2, 1, 0], (2, 1)))
  assert (path[:, 2, :2] < 3).all()


def test_guidance_leads_to_the_label_and_at_scale_one_is_the_label_alone():
  spec = tiny.text_spec(6)._replace(num_classes=2)
  condition = dataclasses.replace(TEXT.condition, label=True)
  config = dataclasses.replace(TEXT, condition=condition)
  params = numbers(config, spec, size=0.5)
  draw = jit(build.make_sampler(config, spec))
  rows = build.with_null({'label': np.array([0, 1])}, {'label': np.int32(2)})
  options = build.options(config, **rows)
  x = {
    scale: np.asarray(
      draw(params, {**options, 'scale': scale}, np.arange(40)).x
    )
    for scale in (0.0, 1.0, 60.0)
  }
  # No scale is compiled for itself.
  assert draw._cache_size() == 1
  alone = {k: v for k, v in options.items() if k not in ('null', 'scale')}
  of = lambda cond: np.asarray(
    jit(build.make_sampler(config, spec))(
      params, {**alone, 'cond': cond}, np.arange(40)
    ).x
  )
  np.testing.assert_array_equal(x[1.0], of(rows['cond']))
  np.testing.assert_array_equal(x[0.0], of({'label': np.array([2])}))
  # Where guidance is strong the noise of the draw matters less.
  kinds = lambda x: np.mean([len(np.unique(column)) for column in x[::2].T])
  assert kinds(x[60.0]) < kinds(x[1.0])


@pytest.mark.parametrize(
  'values, message',
  [
    (dict(process='gauss'), 'diffusion.process must be one of'),
    (dict(schedule='edm'), "diffusion.schedule must be one of .*'mutual_info"),
    (dict(prediction='v'), 'must be logits or log_ratios, got v'),
    (dict(loss='mse'), 'diffusion.loss must be one of'),
    (dict(weighting='min_snr(5)'), 'diffusion.weighting is for'),
    (dict(shift=2.0), 'diffusion.shift is for'),
    (dict(times='log_normal'), 'diffusion.times must be one of'),
    (dict(process='ordinal', prediction='log_ratios'), 'needs .*=logits'),
    (dict(process='uniform'), 'must be told'),
    (
      dict(process='uniform', prediction='log_ratios'),
      'log_ratios says nothing',
    ),
    (dict(loss='nelbo', times='logit_normal'), 'diffusion.times must be one'),
    (dict(loss='variational', times='grid'), 'diffusion.times must be one of'),
    (dict(loss='cross_entropy(edges=5.0)'), 'nodes have no kinds'),
  ],
)
def test_diffusions_of_text_that_there_are_not(values, message):
  with pytest.raises(ValueError, match=message):
    config = told(TEXT) if 'prediction' in values else TEXT
    build.make_task(with_diffusion(config, **values), tiny.text_spec())


@pytest.mark.parametrize(
  'config, spec, values, message',
  [
    (TEXT, tiny.text_spec(), dict(sampler='ddim'), 'sampler must be one of'),
    (TEXT, tiny.text_spec(), dict(times='karras'), 'times must be one of'),
    (TEXT, tiny.text_spec(), dict(guidance='apg'), 'classifier_free'),
    (TEXT, tiny.text_spec(), dict(block=0), 'at least 1, got 0'),
    (TEXT, tiny.text_spec(), dict(temperature=0.0), 'positive, got 0'),
    (TEXT, tiny.text_spec(), dict(eta=0.5), 'sampling.eta is for images'),
    (told(TEXT), tiny.text_spec(), dict(block=2), 'told t never met'),
    (
      with_diffusion(
        told(TEXT),
        process='uniform',
        schedule='log_linear',
        prediction='log_ratios',
      ),
      tiny.text_spec(),
      dict(temperature=0.5),
      'temperature is of logits',
    ),
    (GRAPHS, tiny.graph_spec(), dict(block=2), 'is of text'),
    (GRAPHS, tiny.graph_spec(), dict(sampler='remasked'), 'lifts masks'),
    (TEXT, tiny.text_spec(), dict(sampler='surest_first("x")'), 'the score'),
  ],
)
def test_samplings_that_there_are_not(config, spec, values, message):
  with pytest.raises(ValueError, match=message):
    build.make_sampler(with_sampling(config, **values), spec)


def test_data_that_is_always_the_same_has_no_marginal_noise():
  spec = tiny.graph_spec()._replace(marginals={'edges': (0.0, 1.0)})
  with pytest.raises(ValueError, match='every element is the same'):
    build.make_task(GRAPHS, spec)


def test_pixels_as_categories_are_not_enlarged():
  condition = dataclasses.replace(tiny.config.condition, low_res=4)
  config = dataclasses.replace(
    tiny.config, diffusion=MASKED, condition=condition
  )
  spec = tiny.SPEC._replace(categories=3, marginals=(0.2, 0.3, 0.5))
  with pytest.raises(ValueError, match='low_res is for images that are numb'):
    build.make_network(config, spec)


def test_a_network_is_for_its_kind_of_data():
  wrong = [
    (TEXT, tiny.graph_spec(), 'graph_transformer'),
    (GRAPHS, tiny.text_spec(), 'transformer'),
    (tiny.config, tiny.text_spec(), 'transformer'),
    (dataclasses.replace(tiny.config, network=TEXT.network), tiny.SPEC, 'unet'),
  ]
  for config, spec, right in wrong:
    with pytest.raises(
      ValueError, match=rf'network.kind .* one of \[.*{right}'
    ):
      build.make_network(config, spec)


def test_the_data_of_a_run_and_its_process_agree(tmp_path):
  sums = dataclasses.replace(
    TEXT, data=dataclasses.replace(TEXT.data, name='sums')
  )
  spec = build.load_examples(sums, tmp_path).spec
  assert spec.shape == (11,) and spec.categories == len(spec.symbols)
  assert abs(sum(spec.marginals) - 1) < 1e-6 and spec.sizes is None
  wrong = dataclasses.replace(sums, diffusion=tiny.config.diffusion)
  with pytest.raises(ValueError, match='is of categories'):
    build.load_examples(wrong, tmp_path)
  # Pixels are categories as soon as the process is theirs.
  digits = dataclasses.replace(tiny.config, diffusion=MASKED)
  examples = build.load_examples(digits, tmp_path)
  assert examples.spec.categories == 256
  batch = next(data.batches(examples.dataset, 4, seed=0))
  assert batch['x0'].dtype == np.int32 and batch['x0'].max() == 255


def test_symbols_outside_the_vocabulary_are_named(tmp_path):
  (tmp_path / 'lines').write_text('aab\nabd\nbab\n')
  dataset = data.load(f'lines:{tmp_path / "lines"}')
  with pytest.raises(
    ValueError, match=r"outside .* are \['d'\], and \['c'\] do"
  ):
    build.check_symbols(tiny.text_spec(symbols='abc'), dataset)
  build.check_symbols(tiny.text_spec(symbols='abd'), dataset)


def test_frequencies_are_of_what_exists():
  x0 = {
    'nodes': np.array([[1, 0, 0], [1, 2, 1]]),
    'edges': np.array([np.zeros((3, 3), int), 1 - np.eye(3, dtype=int)]),
  }
  mask = {
    'nodes': np.array([[1, 1, 0], [1, 1, 1]], bool),
    'edges': np.ones((2, 3, 3), bool) & ~np.eye(3, dtype=bool),
  }
  mask['edges'][0, 2] = mask['edges'][0, :, 2] = False
  dataset = data.Dataset(
    'graphs',
    'train',
    'graph',
    2,
    {'nodes': (3,), 'edges': (3, 3)},
    None,
    lambda index: {'x0': x0, 'mask': mask},
    categories={'nodes': 3, 'edges': 2},
  )
  marginals, sizes = data.frequencies(dataset)
  np.testing.assert_allclose(marginals['nodes'], [0.2, 0.6, 0.2])
  np.testing.assert_allclose(marginals['edges'], [0.25, 0.75])
  np.testing.assert_allclose(sizes, [0, 0, 0.5, 0.5])


def test_a_graph_of_one_node_is_one_node():
  mask = {'nodes': np.array([[1, 0]], bool), 'edges': np.zeros((1, 2, 2), bool)}
  x0 = {'nodes': np.zeros((1, 2), int), 'edges': np.zeros((1, 2, 2), int)}
  both = np.array([[1, 1]], bool), ~np.eye(2, dtype=bool)[None]
  pair = {'nodes': both[0], 'edges': both[1]}

  def of(masks):
    join = lambda *x: np.concatenate(x)
    return data.Dataset(
      'molecules',
      'train',
      'graph',
      len(masks),
      {'nodes': (2,), 'edges': (2, 2)},
      None,
      lambda index: {
        'x0': jax.tree.map(join, *[x0] * len(masks)),
        'mask': jax.tree.map(join, *masks),
      },
      categories={'nodes': 1, 'edges': 2},
    )

  np.testing.assert_allclose(data.frequencies(of([mask, pair])).sizes[1], 0.5)
  with pytest.raises(ValueError, match='has no edges at all'):
    data.frequencies(of([mask]))


def test_images_are_not_lengths_and_texts_have_no_size():
  for name, flag, message in [
    ('digits', dict(length=4), 'got --data.length'),
    ('sums', dict(image_size=4), 'got --data.image-size'),
    ('text:a.txt', {}, 'needs --data.length'),
    ('nothing', {}, 'data.name must be one of'),
  ]:
    with pytest.raises(ValueError, match=message):
      data.load(name, **flag)
