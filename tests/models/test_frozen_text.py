"""A published text encoder, from its folder to the samples of a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_clip
from nets import jit

from jaxdiff import config as c
from jaxdiff import data, models
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.models import prompts as prompts_lib
from jaxdiff.runs.examples import with_null

WIDTH, LENGTH = 8, 9


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """CLIP's text tower in small, random, as Hugging Face lays it out."""
  folder = tmp_path_factory.mktemp('clip')
  tiny_clip.write_text_tower(folder, WIDTH, LENGTH)
  return folder


def config_of(folder):
  config = dataclasses.replace(
    tiny.config, network=c.DiT(width=8, depth=1, num_heads=2)
  )
  return tiny.changed(config, condition={'text': 'clip', 'clip': str(folder)})


def test_prompts_become_what_the_network_is_built_for(folder):
  config = config_of(folder)
  prompts = prompts_lib.make(config.condition, 'anywhere')
  assert prompts.length == LENGTH and prompts.dims == (WIDTH, WIDTH)
  encoded = prompts.encode(['a cat', 'a dog', 'a cat'])
  assert encoded['text'].shape == (3, LENGTH, WIDTH)
  np.testing.assert_array_equal(encoded['text'][0], encoded['text'][2])
  assert np.abs(encoded['pooled'][0] - encoded['pooled'][1]).max() > 1e-3
  # What was kept is what would be made anew, whatever stands beside it.
  again = prompts_lib.make(config.condition, 'anywhere').encode(['a dog'])
  np.testing.assert_allclose(again['text'][0], encoded['text'][1], atol=1e-6)


def test_the_encoder_is_that_of_the_run_wherever_it_is(folder, tmp_path):
  (tmp_path / 'moved').symlink_to(folder)
  condition = config_of(tmp_path / 'moved').condition
  spec = lambda sha256: c.Spec(
    'image', (8, 8), data={'reader of captions': sha256}
  )
  sha256 = prompts_lib.make(config_of(folder).condition, 'anywhere').sha256
  prompts_lib.make(condition, 'anywhere', spec(sha256))
  with pytest.raises(ValueError, match='another vocabulary or text encoder$'):
    prompts_lib.make(condition, 'anywhere', spec(sha256[::-1]))


@pytest.mark.slow
def test_a_run_is_trained_and_sampled_with_it(folder, key):
  config = config_of(folder)
  prompts = prompts_lib.make(config.condition, 'anywhere')
  dataset = data.encoded(
    data.Dataset(
      name='two',
      split='train',
      modality='image',
      size=2,
      shape=(8, 8, 1),
      num_classes=None,
      gather=lambda indices: {
        'x0': np.full((len(indices), 8, 8, 1), 200, np.uint8),
        'caption': np.array(['a cat', 'a dog'], object)[indices],
      },
      has_captions=True,
    ),
    prompts.encode,
  )
  batch = next(data.batches(dataset, 4, seed=0))
  spec = c.Spec('image', (8, 8, 1), None, prompts.dims)
  null = {k: x[0] for k, x in prompts.encode(['']).items()}
  task = tiny.make_task(config, spec, null)
  state, metrics = jit(task.step)(jit(task.init)(key), batch)
  assert np.isfinite(metrics['loss'])
  rows = with_null(prompts.encode(['a cat', 'a dog']), null)
  draw = make_sampler(models.make(config, spec), config.sampling)
  options = traced_options(config, **rows)
  images = jax.eval_shape(draw, state.params, options, jnp.arange(2))
  assert images.x.shape == (2, 8, 8, 1)


def test_missing_weights_are_named(tmp_path):
  with pytest.raises(ValueError, match='needs --condition.clip, a folder'):
    tiny.changed(tiny.config, condition={'text': 'clip'})
  with pytest.raises(FileNotFoundError, match='model.safetensors'):
    prompts_lib.make(config_of(tmp_path).condition, 'anywhere')
