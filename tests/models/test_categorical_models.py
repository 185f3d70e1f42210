"""Models of text, graphs and categories: built, refused, sampled."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import config as c
from jaxdiff import data, models
from jaxdiff.generation.infills import read_infills
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.runs import examples

MASKED = c.Categorical()
UNIFORM = c.Categorical(process='uniform')
NETWORK = c.Transformer(width=8, depth=1, num_heads=2, time=False)
TEXT = dataclasses.replace(
  tiny.config,
  diffusion=MASKED,
  network=NETWORK,
  sampling=c.Sampling(sampler='ancestral', steps=3, num=2),
)
GRAPHS = dataclasses.replace(
  TEXT,
  diffusion=c.Categorical(process='marginal'),
  network=c.GraphTransformer(
    width=8, edge_width=8, global_width=8, depth=1, num_heads=2
  ),
)


def with_diffusion(config, **values):
  return tiny.changed(config, diffusion=values)


def with_time(config):
  """With a network that has the noise level as an input."""
  return tiny.changed(config, network={'time': True})


def with_sampling(config, **values):
  return tiny.changed(config, sampling=values)


def sampler_of(config, spec, **settings):
  return jit(
    make_sampler(models.make(config, spec), config.sampling, **settings)
  )


def samples(config, spec, index=(0, 1, 2), params=None, **options):
  """Samples of a network of small random weights, or of `params`."""
  if params is None:
    params = tiny.random_params(config, spec, 0.1)
  draw = sampler_of(config, spec)
  options = {**traced_options(config), **options}
  return jax.tree.map(np.asarray, draw(params, options, np.array(index)))


@pytest.mark.parametrize('process', ['absorbing', 'uniform', 'ordinal(1.0)'])
def test_every_category_is_drawn_and_nothing_else(process):
  config = TEXT if process == 'absorbing' else with_time(TEXT)
  config = with_diffusion(config, process=process)
  x, size = samples(config, tiny.text_spec(40), range(8))
  assert size is None and x.shape == (8, 40)
  assert set(np.unique(x)) == {0, 1, 2}  # no MASK is left


def test_a_sample_depends_on_seed_and_index_alone():
  spec = tiny.text_spec(12, sizes=True)
  many = samples(TEXT, spec, range(4))
  one = samples(TEXT, spec, [3, 3, 3, 3])
  np.testing.assert_array_equal(many.x[3], one.x[0])
  assert many.size[3] == one.size[0]
  assert (samples(TEXT, spec, range(4), seed=1).x != many.x).any()


def test_sizes_follow_their_distribution_and_nothing_is_written_beyond():
  law = np.array([0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0])
  spec = tiny.text_spec(6, sizes=True)._replace(sizes=tuple(law))
  x, size = samples(with_sampling(TEXT, steps=1), spec, range(400))
  counts = np.bincount(size, minlength=7)
  assert counts[[0, 2, 3, 5, 6]].sum() == 0
  # Five standard deviations of 400 coins.
  assert abs(counts[1] - 200) < 50
  beyond = np.arange(6) >= size[:, None]
  assert (x[beyond] == 0).all() and (x[~beyond] > 0).any()


def test_graphs_are_symmetric_within_their_size():
  spec = tiny.graph_spec(6, kinds=3, sizes=True)
  x, size = samples(GRAPHS, spec, range(16))
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
  config = with_time(TEXT) if diffusion is UNIFORM else TEXT
  config = dataclasses.replace(config, diffusion=diffusion)
  config = with_sampling(config, block=block)
  spec = tiny.text_spec(5)
  given = read_infills(spec, 'c_c', None)
  x = samples(config, spec, range(60), given=given.arrays).x
  assert (x[:, [0, 2]] == 2).all()
  assert set(np.unique(x[:, [1, 3, 4]])) == {0, 1, 2}


def test_infills_are_as_long_as_they_are_where_lengths_differ():
  spec = tiny.text_spec(5, sizes=True)
  given = read_infills(spec, 'c_', None)
  x, size = samples(TEXT, spec, range(4), given=given.arrays)
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
  with pytest.raises(ValueError, match="'aaaaa' has nothing to infill"):
    read('aaaaa')
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
  leaves, tree = jax.tree.flatten(tiny.random_params(TEXT, spec, 0.0))
  (last,) = [i for i, leaf in enumerate(leaves) if leaf.shape == (4,)]
  leaves[last][1] = 0.1
  params = jax.tree.unflatten(tree, leaves)
  warm = samples(TEXT, spec, range(20), params, temperature=1.0).x
  cold = samples(TEXT, spec, range(20), params, temperature=1e-3).x
  assert (cold == 1).all() and len(np.unique(warm)) == 3


def test_samplers_that_choose_what_to_unmask():
  spec = tiny.text_spec(6)
  for sampler in (
    'surest_first',
    "surest_first('margin', 0.5)",
    'remasked(0.5)',
  ):
    x = samples(with_sampling(TEXT, sampler=sampler), spec).x
    assert x.max() < 3
  one_by_one = with_sampling(
    TEXT, sampler="surest_first('left_to_right')", steps=6
  )
  draw = sampler_of(one_by_one, spec, trajectory=True)
  params = tiny.random_params(TEXT, spec, 0.1)
  path = np.asarray(draw(params, traced_options(TEXT), np.arange(2)).x)
  masked = (path == 3).sum(-1)
  np.testing.assert_array_equal(masked, np.tile([6, 5, 4, 3, 2, 1, 0], (2, 1)))
  assert (path[:, 2, :2] < 3).all()


def test_guidance_leads_to_the_label_and_at_scale_one_is_the_label_alone():
  spec = tiny.text_spec(6)._replace(num_classes=2)
  config = tiny.changed(TEXT, condition={'label': True})
  params = tiny.random_params(config, spec, 0.5)
  draw = sampler_of(config, spec)
  labels = {'label': np.array([0, 1])}
  rows = examples.with_null(labels, {'label': np.int32(2)})
  options = traced_options(config, **rows)
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
    draw(params, {**alone, 'cond': cond}, np.arange(40)).x
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
    (dict(prediction='v'), r"one of \['logits', 'log_ratios'\], got 'v'"),
    (dict(loss='mse'), 'diffusion.loss must be one of'),
    (dict(times='log_normal'), 'diffusion.times for .* must be one of'),
    (
      dict(process='ordinal', prediction='log_ratios'),
      'needs --diffusion.prediction logits',
    ),
    (dict(process='uniform'), 'needs --network.time'),
    (
      dict(process='uniform', prediction='log_ratios'),
      'log_ratios says nothing',
    ),
    (dict(loss='nelbo', times='logit_normal'), 'diffusion.times for'),
    (dict(loss='variational', times='grid'), 'diffusion.times for'),
    (dict(loss='cross_entropy(edges=5.0)'), 'nodes have no categories'),
  ],
)
def test_diffusions_of_text_that_there_are_not(values, message):
  with pytest.raises(ValueError, match=message):
    config = with_time(TEXT) if 'prediction' in values else TEXT
    models.make(with_diffusion(config, **values), tiny.text_spec())


@pytest.mark.parametrize('field', ['weighting', 'shift', 'variance', 'error'])
def test_fields_of_gaussian_noise_are_unknown(field):
  with pytest.raises(ValueError, match=f'unknown field diffusion.{field}'):
    c.from_dict({'diffusion': {'kind': 'Categorical', field: 1.0}})


@pytest.mark.parametrize(
  'config, spec, values, message',
  [
    (TEXT, tiny.text_spec(), dict(sampler='ddim'), 'sampler must be one of'),
    (TEXT, tiny.text_spec(), dict(times='karras'), 'is for Gaussian noise'),
    (TEXT, tiny.text_spec(), dict(guidance='apg'), 'is for real numbers'),
    (TEXT, tiny.text_spec(), dict(block=0), 'block must be in .1, .*got 0'),
    (TEXT, tiny.text_spec(), dict(temperature=0.0), 'above 0, got 0'),
    (TEXT, tiny.text_spec(), dict(eta=0.5), 'sampling.eta is for real numbers'),
    (TEXT, tiny.text_spec(), dict(times='log_snr'), 'is for Gaussian noise'),
    (
      TEXT,
      tiny.text_spec(),
      dict(times='numpy:linspace(1.0, 0.1)'),
      'ends at 0.1, .* for categories it must end at 0',
    ),
    (
      TEXT,
      tiny.text_spec(),
      dict(times='leading(table_steps=20,offset=1,last=1)', steps=8),
      'must end at 0',
    ),
    (
      GRAPHS,
      tiny.graph_spec(),
      dict(times='leading(last=1, offset=1)', steps=8),
      'must end at 0',
    ),
    (TEXT, tiny.text_spec(), dict(rescale=0.5), 'rescale is for real numbers'),
    (
      TEXT,
      tiny.text_spec(),
      dict(threshold='dynamic'),
      'threshold is for real numbers',
    ),
    (TEXT, tiny.text_spec(), dict(augment=0.2), 'augment is for real numbers'),
    (
      tiny.config,
      tiny.SPEC,
      dict(block=3),
      '--sampling.block is for categories, got 3',
    ),
    (
      tiny.config,
      tiny.SPEC,
      dict(temperature=0.5),
      '--sampling.temperature is for categories, got 0.5',
    ),
    (with_time(TEXT), tiny.text_spec(), dict(block=2), 'told t has not met'),
    (
      with_diffusion(
        with_time(TEXT),
        process='uniform',
        schedule='log_linear',
        prediction='log_ratios',
      ),
      tiny.text_spec(),
      dict(temperature=0.5),
      'temperature is for logits',
    ),
    (GRAPHS, tiny.graph_spec(), dict(block=2), 'needs .*absorbing'),
    (GRAPHS, tiny.graph_spec(), dict(sampler='remasked'), 'lifts masks'),
    (
      with_diffusion(GRAPHS, process='absorbing'),
      tiny.graph_spec(),
      dict(sampler='surest_first'),
      'lifts masks: .* and no graph',
    ),
    (
      with_diffusion(with_time(TEXT), process='uniform'),
      tiny.text_spec(),
      dict(sampler='remasked'),
      'lifts masks: it needs --diffusion.process absorbing',
    ),
    (
      TEXT,
      tiny.text_spec(),
      dict(sampler='surest_first("x")'),
      'score must be',
    ),
  ],
)
def test_samplings_that_there_are_not(config, spec, values, message):
  with pytest.raises(ValueError, match=message):
    config = with_sampling(config, **values)
    make_sampler(models.make(config, spec), config.sampling)


def test_data_that_is_always_the_same_has_no_marginal_noise():
  spec = tiny.graph_spec()._replace(marginals={'edges': (0.0, 1.0)})
  with pytest.raises(ValueError, match='every element is the same'):
    models.make(GRAPHS, spec)


def test_pixels_as_categories_are_not_enlarged():
  with pytest.raises(ValueError, match='low-res is for images that are real'):
    dataclasses.replace(
      TEXT, network=tiny.UNET, condition=c.Condition(low_res=4)
    )


def test_a_network_is_for_its_kind_of_data():
  unet = dataclasses.replace(TEXT, network=tiny.UNET)
  wrong = [
    (TEXT, tiny.graph_spec(), 'GraphTransformer'),
    (GRAPHS, tiny.text_spec(), "'Transformer'"),
    (unet, tiny.text_spec(), "'Transformer'"),
    (dataclasses.replace(tiny.config, network=NETWORK), tiny.SPEC, 'UNet'),
    (tiny.config, c.Spec('points', (2,)), 'MLP'),
  ]
  for config, spec, right in wrong:
    with pytest.raises(ValueError, match=rf'modality .* one of \[.*{right}'):
      models.make(config, spec)


def test_the_data_of_a_run_and_its_process_agree(tmp_path):
  sums = tiny.changed(TEXT, data={'name': 'sums'})
  spec = examples.load(sums, tmp_path).spec
  assert spec.shape == (11,) and spec.categories == len(spec.symbols)
  assert abs(sum(spec.marginals) - 1) < 1e-6 and spec.sizes is None
  with pytest.raises(ValueError, match='has categories: give it diffusion='):
    models.make(tiny.config, spec)
  with pytest.raises(ValueError, match='has real numbers: give it diffusion='):
    models.make(TEXT, tiny.SPEC)
  # Pixels are categories as soon as the process is theirs.
  digits = dataclasses.replace(TEXT, network=tiny.UNET)
  found = examples.load(digits, tmp_path)
  assert found.spec.categories == 256
  batch = next(data.batches(found.dataset, 4, seed=0))
  assert batch['x0'].dtype == np.int32 and batch['x0'].max() == 255


def test_symbols_outside_the_vocabulary_are_named(tmp_path):
  (tmp_path / 'lines').write_text('aab\nabd\nbab\n')
  dataset = data.load(f'lines:{tmp_path / "lines"}')
  with pytest.raises(ValueError, match="'d' new, 'c' gone"):
    examples.check(tiny.text_spec(symbols='abc'), dataset)
  examples.check(tiny.text_spec(symbols='abd'), dataset)


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
