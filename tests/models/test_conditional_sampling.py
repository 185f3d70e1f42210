"""Sampling with conditions: which image has which, and what guidance is."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import build
from jaxdiff.config import Spec

SPEC = Spec((8, 8, 1), num_classes=3)


def changed(sampling=None, **condition):
  return dataclasses.replace(
    tiny.config,
    condition=dataclasses.replace(tiny.config.condition, **condition),
    sampling=dataclasses.replace(tiny.config.sampling, **(sampling or {})),
  )


def random_params(config, spec):
  """No zero is left that would hide a condition."""
  state = jax.eval_shape(build.make_task(config, spec).init, jax.random.key(0))
  draw = np.random.default_rng(1).normal
  return jax.tree.map(
    lambda x: jnp.asarray(0.3 * draw(size=x.shape), x.dtype), state.params
  )


@pytest.fixture(scope='module')
def labelled():
  config = changed(label=True)
  params = random_params(config, SPEC)
  draw = jit(chex.assert_max_traces(build.make_sampler(config, SPEC), n=3))
  told = build.with_null(
    {'label': np.arange(3, dtype=np.int32)}, {'label': np.int32(3)}
  )
  options = build.options(config, **told)
  return lambda index, **changes: np.asarray(
    draw(params, {**options, **changes}, jnp.asarray(index))
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
  spec = Spec((8, 8, 1), None, (8, 8))
  params = random_params(config, spec)
  prompts = build.make_prompts(config, 'none')
  null = {k: x[0] for k, x in prompts.encode(['']).items()}
  told = build.with_null(prompts.encode(['abc', 'xyz']), null)
  draw = jit(build.make_sampler(config, spec))
  options = build.options(config, **told)
  images = draw(params, options, jnp.arange(4))
  swapped = build.with_null(prompts.encode(['abc', 'abc']), null)
  other = draw(params, build.options(config, **swapped), jnp.arange(4))
  np.testing.assert_allclose(images[::2], other[::2], atol=1e-5)
  assert np.abs(images[1::2] - other[1::2]).max() > 1e-3


def test_a_cascade_enlarges_what_the_base_draws():
  base_config = changed(label=True)
  base_spec = Spec((4, 4, 1), num_classes=3)
  base_config = dataclasses.replace(
    base_config,
    network=dataclasses.replace(
      base_config.network,
      unet=dataclasses.replace(
        base_config.network.unet, attention_resolutions=(2,)
      ),
    ),
  )
  config = changed({'augment': 0.0}, low_res=4)
  spec = Spec((8, 8, 1))
  base = build.make_sampler(base_config, base_spec)
  large = build.make_sampler(config, spec)
  params = random_params(base_config, base_spec), random_params(config, spec)
  told = build.with_null(
    {'label': np.arange(3, dtype=np.int32)}, {'label': np.int32(3)}
  )
  options = build.options(base_config, **told), build.options(config, cond={})
  index = jnp.arange(3)
  draw = jit(build.make_cascade(base, large))
  images = draw(params, options, index)
  small = jit(base)(params[0], options[0], index)
  told = {
    **options[1],
    'seed': options[1]['seed'] + build.CASCADE,
    'cond': {'low_res': np.asarray(small)},
  }
  direct = jit(large)(params[1], told, index)
  np.testing.assert_allclose(images, direct, atol=1e-4)
  changed_label = {**options[0], 'cond': {'label': np.array([2], np.int32)}}
  other = draw(params, (changed_label, options[1]), index)
  assert np.abs(other[0] - images[0]).max() > 1e-3
