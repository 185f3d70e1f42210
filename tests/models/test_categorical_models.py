"""Models of text, graphs and categories: built, refused, sampled."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
from categories import (
  GRAPHS,
  MASKED,
  TEXT,
  UNIFORM,
  sampler_of,
  samples,
  with_diffusion,
  with_sampling,
  with_time,
)

from jaxdiff.generation.infills import read_infills
from jaxdiff.generation.sampler import traced_options
from jaxdiff.runs import examples


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


@pytest.mark.parametrize('sampler', ['ancestral', 'rate_matrix(0.1, eta=5.0)'])
def test_graphs_are_symmetric_within_their_size(sampler):
  spec = tiny.graph_spec(6, kinds=3, sizes=True)
  config = with_sampling(GRAPHS, sampler=sampler)
  x, size = samples(config, spec, range(16))
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


@pytest.mark.slow
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
  greedy = with_sampling(TEXT, sampler='greedy_tail')
  assert (
    samples(with_sampling(greedy, steps=1), spec, range(20), params).x == 1
  ).all()
  # In more steps, only what is left for the last one.
  early = np.mean(
    samples(with_sampling(greedy, steps=3), spec, range(20), params).x == 1
  )
  assert 0.4 < early < 0.8


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
