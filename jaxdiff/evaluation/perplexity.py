"""Generative perplexity: how likely a language model finds generated texts.

  perplexity = exp(-sum_n sum_{i >= 2} ln p(x_ni | x_n1 .. x_n,i-1) / M)

with M the number of terms, over all texts together. A model that repeats itself
has a low perplexity, so the entropy of a text's own tokens stands beside it:

  entropy = mean_n -sum_v f_nv ln f_nv,

with f_nv the frequency of token v in text n.

Source: Lou et al. 2024 (arXiv:2310.16834), section 5.3; the entropy, Zheng et
al. 2024 (arXiv:2409.02908), section 5.
"""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff.networks.gpt2 import GPT2
from jaxdiff.pretrained.gpt2_weights import GPT2Weights
from jaxdiff.pretrained.state_dicts import Params


def entropy(units: Sequence[int | str]) -> float:
  """Computes the entropy of the frequencies of the units of a text, in nats."""
  _, counts = np.unique(list(units), return_counts=True)
  frequencies = counts / counts.sum()
  return float(-np.sum(frequencies * np.log(frequencies)))


def measure(
  texts: Sequence[str], scorer: GPT2Weights, batch_size: int = 8
) -> dict[str, float]:
  """Computes the perplexity and the entropy of texts.

  Args:
    texts: Read from their second token on; beyond the scorer's length they are
      cut.
    scorer: The language model.
    batch_size: Texts at a time.

  Returns:
    'perplexity' with 'perplexity_error', its standard deviation over texts;
    'entropy', in nats; 'scored_tokens' and 'texts_cut'. Without a text of two
    tokens only the last two.
  """
  length = scorer.network.max_length
  rows = [x.ids for x in scorer.tokenizer.encode_batch(list(texts))]
  cut = sum(len(row) > length for row in rows)
  rows = [row[:length] for row in rows if len(row) > 1]
  terms = np.array([len(row) - 1 for row in rows])
  found = {'scored_tokens': int(terms.sum()), 'texts_cut': cut}
  if not rows:
    return found
  losses = np.concatenate([*_losses(rows, scorer, batch_size)])
  mean = losses.sum() / terms.sum()
  spread = np.sqrt(np.sum((losses - mean * terms) ** 2)) / terms.sum()
  return {
    'perplexity': float(np.exp(mean)),
    'perplexity_error': float(np.exp(mean) * spread),
    'entropy': float(np.mean([entropy(row) for row in rows])),
    **found,
  }


def _losses(
  rows: Sequence[Sequence[int]], scorer: GPT2Weights, batch_size: int
) -> Iterator[np.ndarray]:
  """Yields the negative log-likelihood of each text, in nats."""
  nll = jax.jit(_nll, static_argnums=0)
  for start in range(0, len(rows), batch_size):
    batch = rows[start : start + batch_size]
    # Few lengths, so that few programs are compiled.
    longest = max(map(len, batch))
    length = min(1 << (longest - 1).bit_length(), scorer.network.max_length)
    tokens = np.zeros((batch_size, length), np.int32)
    for row, ids in zip(tokens, batch, strict=False):
      row[: len(ids)] = ids
    ends = np.array([len(row) for row in batch] + [0] * batch_size)
    found = nll(scorer.network, scorer.params, tokens, ends[:batch_size])
    yield np.asarray(found, np.float64)[: len(batch)]


def _nll(network: GPT2, params: Params, tokens: Array, ends: Array) -> Array:
  """Computes [B] of tokens [B, L], the first ends [B] of each."""
  logits = network.apply({'params': params}, tokens)[:, :-1]
  chosen = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
  losses = jax.nn.logsumexp(logits, axis=-1) - chosen
  counted = jnp.arange(1, tokens.shape[1])[None] < ends[:, None]
  return jnp.sum(jnp.where(counted, losses, 0.0), axis=-1)
