"""Generative perplexity: how likely a language model finds generated texts.

  perplexity = exp(-sum_n sum_{i >= 2} ln p(x_ni | x_n1 .. x_n,i-1) / M)

with M the number of terms, over all texts together. A model that repeats itself
has a low perplexity, so the entropy of a text's own tokens stands beside it:

  entropy = mean_n -sum_v f_nv ln f_nv,

with f_nv the frequency of token v in text n. The language model is a GPT-2 or
an autoregressive run of this library: block diffusion with blocks of one.

Source: Lou et al. 2024 (arXiv:2310.16834), section 5.3; the entropy, Zheng et
al. 2024 (arXiv:2409.02908), section 5.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff import files, parallel, runs
from jaxdiff.data import vocabulary
from jaxdiff.pretrained import gpt2_weights
from jaxdiff.pretrained.state_dicts import Params


class Scorer(NamedTuple):
  """A language model."""

  encode: Callable[[Sequence[str]], list[Sequence[int]]]  # texts to tokens
  # The nats of each of tokens [B, L] but the first, [B, L - 1].
  losses: Callable[[Params, Array], Array]
  params: Params
  max_length: int  # of a text
  sha256: str


def read_scorer(path: str) -> Scorer:
  """Reads the workdir of an autoregressive run, or a folder with a GPT-2.

  Raises:
    FileNotFoundError: A file is missing; the message names it.
    ValueError: A file cannot be read, or is of another network.
  """
  if (files.as_path(path) / 'checkpoints').exists():
    return of_run(runs.load(path, parallel.local_mesh()))
  return of_gpt2(gpt2_weights.read_gpt2(path))


def of_gpt2(weights: gpt2_weights.GPT2Weights) -> Scorer:
  """Makes a scorer of a GPT-2."""

  def encode(texts: Sequence[str]) -> list[Sequence[int]]:
    return [x.ids for x in weights.tokenizer.encode_batch(list(texts))]

  def losses(params: Params, tokens: Array) -> Array:
    logits = weights.network.apply({'params': params}, tokens)[:, :-1]
    chosen = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - chosen[..., 0]

  length = weights.network.max_length
  return Scorer(encode, losses, weights.params, length, weights.sha256)


def of_run(run: runs.Run) -> Scorer:
  """Makes a scorer of a run with blocks of one character.

  Raises:
    ValueError: It is of other blocks or noise, or of longer tokens.
  """
  model, spec = run.model, run.spec
  if model.block != 1 or run.config.diffusion.process != 'absorbing':
    raise ValueError(
      f'--scorer {run.workdir} must be autoregressive: --network.block 1 and '
      '--diffusion.process absorbing'
    )
  encode = partial(vocabulary.encode, symbols=spec.symbols)

  def losses(params: Params, tokens: Array) -> Array:
    masks = jnp.full_like(tokens, spec.categories)
    denoiser = model.denoiser(params, {'past': tokens})
    logits = denoiser(masks, jnp.ones(len(tokens)))
    one, zero = jnp.float32(1), jnp.float32(0)
    step = jax.vmap(model.process.terms.step, (0, 0, 0, None, None))
    return step(masks, tokens, logits, one, zero)[:, 1:]

  return Scorer(
    lambda texts: [encode(text).tolist() for text in texts],
    losses,
    run.params,
    spec.shape[0],
    runs.digest(run.params),
  )


def entropy(units: Sequence[int | str]) -> float:
  """Computes the entropy of the frequencies of the units of a text, in nats."""
  _, counts = np.unique(list(units), return_counts=True)
  frequencies = counts / counts.sum()
  return float(-np.sum(frequencies * np.log(frequencies)))


def measure(
  texts: Sequence[str], scorer: Scorer, batch_size: int = 8
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
  length = scorer.max_length
  rows = scorer.encode(texts)
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
  rows: Sequence[Sequence[int]], scorer: Scorer, batch_size: int
) -> Iterator[np.ndarray]:
  """Yields the negative log-likelihood of each text, in nats."""

  @jax.jit
  def total(params: Params, tokens: Array, ends: Array) -> Array:
    counted = jnp.arange(1, tokens.shape[1])[None] < ends[:, None]
    losses = scorer.losses(params, tokens)
    return jnp.sum(jnp.where(counted, losses, 0.0), axis=-1)

  for start in range(0, len(rows), batch_size):
    batch = rows[start : start + batch_size]
    # Few lengths, so that few programs are compiled.
    longest = max(map(len, batch))
    length = min(1 << (longest - 1).bit_length(), scorer.max_length)
    tokens = np.zeros((batch_size, length), np.int32)
    for row, ids in zip(tokens, batch, strict=False):
      row[: len(ids)] = ids
    ends = np.array([len(row) for row in batch] + [0] * batch_size)
    found = total(scorer.params, tokens, ends[:batch_size])
    yield np.asarray(found, np.float64)[: len(batch)]
