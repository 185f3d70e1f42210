"""Prompts read by the encoder of a published T5, which is not trained further.

They become 'text' [N, L, D], 'pooled' [N, D], its mean, and 'mask' [N, L],
false at padding.
"""

import jax
import numpy as np

from jaxdiff import files, hub, tokenizers
from jaxdiff.models.encodings import CHUNK, Prompts, kept
from jaxdiff.pretrained.t5_weights import load_t5


def t5_prompts(folder: str | None, length: int) -> Prompts:
  """Builds the reader of a folder as transformers has it.

  Args:
    folder: With model.safetensors, perhaps in shards, config.json, and
      tokenizer.json or spiece.model.
    length: L, in tokens.

  Raises:
    FileNotFoundError: A file is missing, by name.
    ValueError: No folder is given; or a file is of another network.
  """
  if folder is None:
    raise ValueError(
      'condition.text=t5 needs condition.t5, a folder with model.safetensors, '
      'config.json and tokenizer.json of a T5 v1.1 or umT5'
    )
  place = hub.local_path(folder)
  names = 'tokenizer.json', 'spiece.model'
  found = [place / name for name in names if (place / name).is_file()]
  vocabulary = next(iter(found), place / names[0])
  tokenizer = tokenizers.t5_tokenizer(vocabulary, length)
  network, params, sha256 = load_t5(place)
  if tokenizer.vocab_size > network.vocab_size:
    raise ValueError(
      f'{vocabulary} has {tokenizer.vocab_size} tokens, and the '
      f'network {network.vocab_size}'
    )
  run = jax.jit(
    lambda params, tokens: network.apply({'params': params}, tokens)
  )

  def read(prompts: list[str]) -> dict[str, np.ndarray]:
    # Always as many, so that it is compiled once.
    tokens = tokenizer.encode(prompts + [''] * (CHUNK - len(prompts)))
    return jax.device_get(run(params, tokens))

  dims = (network.width, network.width)
  sha256 = files.json_hash([sha256, tokenizer.sha256])
  return Prompts(kept(read), tokenizer.count, tokenizer.length, dims, sha256)
