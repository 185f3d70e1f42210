"""Sampling with conditions: which image has which, and guidance."""

import dataclasses

import chex
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.generation import sampler
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.models import prompts
from jaxdiff.runs.examples import with_null

SPEC = c.Spec('image', (8, 8, 1), num_classes=3)
# A quarter of the U-Net's time to compile.
CONFIG = dataclasses.replace(
  tiny.config, network=c.DiT(width=8, depth=1, num_heads=2)
)
LABELS = with_null(
  {'label': np.arange(3, dtype=np.int32)}, {'label': np.int32(3)}
)


def changed(sampling=None, **condition):
  return tiny.changed(CONFIG, condition=condition, sampling=sampling or {})


def sampler_of(config, spec):
  return make_sampler(models.make(config, spec), config.sampling)


@pytest.fixture(scope='module')
def labelled():
  config = changed(label=True)
  params = tiny.random_params(config, SPEC)
  draw = jit(chex.assert_max_traces(sampler_of(config, SPEC), n=3))
  options = traced_options(config, **LABELS)
  return lambda index, **changes: np.asarray(
    draw(params, {**options, **changes}, jnp.asarray(index)).x
  )


def test_sample_i_has_condition_i_modulo_their_number(labelled):
  images = labelled([0, 1, 2, 3, 4, 5])
  only = {'label': np.array([1, 1, 1], np.int32)}
  ones = labelled([0, 1, 2, 3, 4, 5], cond=only)
  same = np.abs(images - ones).max(axis=(1, 2, 3)) < 1e-5
  np.testing.assert_array_equal(same, [False, True, False, False, True, False])


def test_scale_moves_from_the_null_to_the_condition(labelled):
  index = [0, 1, 2, 3, 4, 5]
  null = {'label': np.array([3, 3, 3], np.int32)}
  plain = labelled(index)
  without = labelled(index, cond=null)
  np.testing.assert_allclose(labelled(index, scale=0.0), without, atol=2e-4)
  # At scale 1 the null is not even asked, and may be nonsense.
  other = labelled(index, null={'label': np.array([0], np.int32)})
  np.testing.assert_array_equal(plain, other)
  assert np.abs(labelled(index, scale=3.0) - plain).max() > 1e-2


def test_a_seed_for_each_condition(labelled):
  index = [0, 1, 2, 3, 4, 5]
  seeds = np.array([5, 6, 7], np.int32)
  images = labelled(index, seed=seeds)
  # Image 4 is the second of condition 1: that of seed 6 and index 1, label 1.
  alone = labelled(
    [1] * 6, seed=6, cond={'label': np.array([1, 1, 1], np.int32)}
  )
  np.testing.assert_allclose(images[4], alone[0], atol=1e-5)
  assert np.abs(images[4] - labelled(index, seed=5)[4]).max() > 1e-3


def test_a_prompt_is_encoded_once_and_matters():
  config = changed(text='bytes', length=8, width=8, depth=1, num_heads=2)
  spec = c.Spec('image', (8, 8, 1), None, (8, 8))
  params = tiny.random_params(config, spec)
  reader = prompts.make(config.condition, 'none')
  null = {k: x[0] for k, x in reader.encode(['']).items()}
  draw = jit(sampler_of(config, spec))

  def images(*texts):
    rows = with_null(reader.encode(texts), null)
    return draw(params, traced_options(config, **rows), jnp.arange(4)).x

  both, other = images('abc', 'xyz'), images('abc', 'abc')
  np.testing.assert_allclose(both[::2], other[::2], atol=1e-5)
  assert np.abs(both[1::2] - other[1::2]).max() > 1e-3


def test_a_cascade_enlarges_what_the_base_draws():
  base_config = changed(label=True)
  base_spec = c.Spec('image', (4, 4, 1), num_classes=3)
  config = changed({'augment': 0.0}, low_res=4)
  spec = c.Spec('image', (8, 8, 1))
  base, large = sampler_of(base_config, base_spec), sampler_of(config, spec)
  params = (
    tiny.random_params(base_config, base_spec),
    tiny.random_params(config, spec),
  )
  options = traced_options(base_config, **LABELS), traced_options(config)
  index = jnp.arange(3)
  draw = jit(sampler.make_cascade(base, large))
  images = draw(params, options, index).x
  small = jit(base)(params[0], options[0], index).x
  alone = {
    **options[1],
    'seed': options[1]['seed'] + sampler.CASCADE,
    'cond': {'low_res': np.asarray(small)},
  }
  enlarge = jit(large)
  direct = enlarge(params[1], alone, index).x
  np.testing.assert_allclose(images, direct, atol=1e-4)
  # The noise of the second stage is not that of the first.
  again = enlarge(params[1], {**alone, 'seed': options[0]['seed']}, index).x
  assert np.abs(again - images).max() > 1e-3
  other_label = {**options[0], 'cond': {'label': np.array([2, 2, 2], np.int32)}}
  other = draw(params, (other_label, options[1]), index).x
  assert np.abs(other[0] - images[0]).max() > 1e-3
  np.testing.assert_array_equal(other[2], images[2])
