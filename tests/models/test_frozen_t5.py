"""A published T5, from its folder to a training step and samples of a run."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_t5
from nets import jit

from jaxdiff import config as c
from jaxdiff import models, tokenizers
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.models import prompts as prompts_lib
from jaxdiff.pretrained.t5_weights import load_t5
from jaxdiff.runs.examples import with_null

LENGTH = 6


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny_t5.save(tmp_path_factory.mktemp('t5'))


def config_of(folder):
  config = dataclasses.replace(
    tiny.config, network=c.DiT(width=8, depth=1, num_heads=2)
  )
  condition = {'text': 't5', 't5': str(folder), 'length': LENGTH}
  return tiny.changed(config, condition=condition)


def test_tokens_end_and_are_padded(folder):
  tokenizer = tokenizers.t5_tokenizer(folder / 'tokenizer.json', LENGTH)
  rows = tokenizer.encode(['a cat', '', 'a cat a dog a cat s s'])
  expected = [[4, 5, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [4, 5, 4, 6, 4, 1]]
  np.testing.assert_array_equal(rows, expected)
  assert [tokenizer.count(x) for x in ('a cat', '')] == [3, 1]
  assert tokenizer.vocab_size == len(tiny_t5.PIECES)


def test_prompts_become_vectors_that_padding_does_not_change(folder):
  condition = config_of(folder).condition
  prompts = prompts_lib.make(condition, 'anywhere')
  assert prompts.dims == (8, 8) and prompts.length == LENGTH
  found = prompts.encode(['a cat', 'a dog', 'a cat'])
  assert found['text'].shape == (3, LENGTH, 8)
  np.testing.assert_array_equal(found['mask'].sum(1), [3, 3, 3])
  assert not found['text'][:, 3:].any()
  mean = found['text'][:, :3].mean(1)
  np.testing.assert_allclose(found['pooled'], mean, atol=1e-6)
  assert np.abs(found['pooled'][0] - found['pooled'][1]).max() > 1e-3
  longer = dataclasses.replace(condition, length=LENGTH + 3)
  more = prompts_lib.make(longer, 'anywhere').encode(['a cat'])
  np.testing.assert_allclose(
    more['text'][0, :3], found['text'][0, :3], atol=1e-5
  )


@pytest.mark.slow
def test_a_run_is_trained_and_sampled_with_it(folder, key):
  config = config_of(folder)
  prompts = prompts_lib.make(config.condition, 'anywhere')
  spec = c.Spec('image', (8, 8, 1), None, prompts.dims)
  null = {k: x[0] for k, x in prompts.encode(['']).items()}
  task = tiny.make_task(config, spec, null)
  cond = prompts.encode(['a cat', 'a dog'])
  batch = {
    'x0': jnp.zeros((2, 8, 8, 1)),
    'cond': cond,
    'index': np.arange(2, dtype=np.int32),
  }
  state, metrics = jit(task.step)(jit(task.init)(key), batch)
  assert np.isfinite(metrics['loss'])
  draw = make_sampler(models.make(config, spec), config.sampling)
  options = traced_options(config, **with_null(cond, null))
  images = jax.eval_shape(draw, state.params, options, jnp.arange(2))
  assert images.x.shape == (2, 8, 8, 1)


def test_another_encoder_is_refused(folder, tmp_path):
  condition = config_of(folder).condition
  known = prompts_lib.make(condition, 'anywhere').sha256
  spec = c.Spec('image', (8, 8), data={prompts_lib.READER: known})
  moved = shutil.copytree(folder, tmp_path / 'moved')
  prompts_lib.make(config_of(moved).condition, 'anywhere', spec)
  tiny_t5.save(moved, 'umt5')
  with pytest.raises(ValueError, match='vocabulary or text encoder$'):
    prompts_lib.make(config_of(moved).condition, 'anywhere', spec)


@pytest.mark.parametrize(
  'config, message',
  [
    ({'model_type': 'bert'}, 'must be t5, mt5 or umt5'),
    ({'feed_forward_proj': 'relu'}, 'must be gated-gelu'),
    ({'num_layers': 1}, 'unexpected: encoder.block.1'),
    ({'num_layers': 1 << 19}, r'num_layers must be int in \(0, 128\]'),
    ({'relative_attention_num_buckets': 6}, 'multiple of 4'),
    ({'relative_attention_max_distance': 2}, 'max_distance 2'),
    ({'vocab_size': 4}, 'wrong: shared.weight|10 tokens, and the network 4'),
  ],
)
def test_what_is_wrong_is_said(config, message, folder, tmp_path):
  other = shutil.copytree(folder, tmp_path / 't5')
  (other / 'config.json').write_text(json.dumps(tiny_t5.CONFIG | config))
  with pytest.raises(ValueError, match=message):
    load_t5(other)


def test_missing_files_are_named(folder, tmp_path):
  with pytest.raises(ValueError, match='needs --condition.t5, a folder'):
    tiny.changed(tiny.config, condition={'text': 't5'})
  other = shutil.copytree(folder, tmp_path / 't5')
  for name in ('model.safetensors', 'config.json', 'tokenizer.json'):
    (other / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
      prompts_lib.make(config_of(other).condition, 'anywhere')
