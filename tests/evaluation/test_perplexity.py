"""Generative perplexity and the entropy of texts, against direct sums."""

import categories
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_gpt2

from jaxdiff import models, runs
from jaxdiff.evaluation import perplexity
from jaxdiff.pretrained.gpt2_weights import read_gpt2

TEXTS = ['abcabc', 'jihgfedcba', 'aa', 'b', 'a b c d e f g h i j']


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  return read_gpt2(tiny_gpt2.write(tmp_path_factory.mktemp('gpt2')))


@pytest.fixture
def scorer(weights):
  return perplexity.of_gpt2(weights)


def test_a_scorer_that_knows_nothing_has_the_vocabulary_as_perplexity(scorer):
  zeros = scorer._replace(params=jax.tree.map(jnp.zeros_like, scorer.params))
  found = perplexity.measure(TEXTS, zeros)
  assert found['perplexity'] == pytest.approx(12, rel=1e-5)
  assert found['perplexity_error'] == pytest.approx(0, abs=1e-4)
  assert found['scored_tokens'] == 5 + 9 + 1 + 15 and found['texts_cut'] == 1


def test_it_is_the_mean_over_all_tokens(scorer, weights):
  """One text at a time, one token at a time, from the text so far."""
  apply = jax.jit(
    lambda x: weights.network.apply({'params': weights.params}, x)
  )
  loss, num = 0.0, 0
  for text in TEXTS:
    ids = weights.tokenizer.encode(text).ids[:16]
    for i in range(1, len(ids)):
      before = np.full((1, 16), 11)  # what follows is another token
      before[0, :i] = ids[:i]
      loss -= float(jax.nn.log_softmax(apply(before)[0, i - 1])[ids[i]])
      num += 1
  for batch_size in (2, 8):
    found = perplexity.measure(TEXTS, scorer, batch_size)
    assert found['perplexity'] == pytest.approx(np.exp(loss / num), rel=1e-4)
    assert found['perplexity_error'] > 0.01


def test_repetition_has_a_low_entropy(scorer):
  assert perplexity.entropy('aaaa') == 0
  assert perplexity.entropy('abab') == pytest.approx(np.log(2))
  assert perplexity.entropy('abcd') == pytest.approx(np.log(4))
  repeated = perplexity.measure(['aaaaaaaa'], scorer)['entropy']
  assert repeated == 0 < perplexity.measure(['abcdabcd'], scorer)['entropy']


def test_texts_of_one_token_have_no_perplexity(scorer):
  nothing = {'scored_tokens': 0, 'texts_cut': 0}
  assert perplexity.measure(['', 'a'], scorer) == nothing


def run_of(block):
  """A run of blocks with random weights."""
  config = tiny.changed(categories.TEXT, network={'block': block})
  spec = tiny.text_spec(4)
  params = tiny.random_params(config, spec, 0.4)
  return runs.Run('run', config, spec, models.make(config, spec), 1, params)


def test_a_run_scores_by_the_likelihood_of_its_blocks():
  run, texts = run_of(1), ['abca', 'bb', 'ccca']
  scorer = perplexity.of_run(run)
  denoise = jax.jit(run.model.denoiser(run.params, {}))
  loss = num = 0
  for text in texts:
    ids = scorer.encode([text])[0]
    for i in range(1, len(ids)):
      x = np.full((1, 4), 3)  # masks
      x[0, :i] = ids[:i]
      logits = denoise(jnp.asarray(x), jnp.ones(1))[0, i, :3]
      loss -= float(jax.nn.log_softmax(logits)[ids[i]])
      num += 1
  found = perplexity.measure(texts, scorer, 2)
  assert found['perplexity'] == pytest.approx(np.exp(loss / num), rel=1e-4)
  assert found['scored_tokens'] == num == 7
  with pytest.raises(ValueError, match="outside the vocabulary: .'x'"):
    perplexity.measure(['abx'], scorer)
  with pytest.raises(ValueError, match='must be autoregressive: --network.blo'):
    perplexity.of_run(run_of(2))


def test_files_that_are_wrong_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='no folder .*tokenizer.json'):
    read_gpt2(tmp_path / 'none')
  tensors = tiny_gpt2.state()
  lacking = {k: x for k, x in tensors.items() if k != 'h.1.attn.c_attn.weight'}
  with pytest.raises(ValueError, match=r'missing: h\.1\.attn\.k\.weight'):
    read_gpt2(tiny_gpt2.write(tmp_path / 'a', lacking))
  with pytest.raises(ValueError, match="must be 'gpt2', got 'llama'"):
    read_gpt2(tiny_gpt2.write(tmp_path / 'b', model_type='llama'))
  with pytest.raises(ValueError, match=r'12 tokens, the network 5'):
    read_gpt2(tiny_gpt2.write(tmp_path / 'c', vocab_size=5))
  (tmp_path / 'a' / 'tokenizer.json').unlink()
  with pytest.raises(FileNotFoundError, match=r'tokenizer\.json'):
    read_gpt2(tmp_path / 'a')
