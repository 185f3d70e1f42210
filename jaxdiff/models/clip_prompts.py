"""Prompts read by published text encoders, which are not trained further."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import files
from jaxdiff.models.encodings import CHUNK, Prompts, kept
from jaxdiff.networks.embedding import sinusoidal
from jaxdiff.pretrained import clip_folder


def clip_prompts(
  folder: str | Path | None,
  sizes: Sequence[int] = (),
  sizes_dim: int = 256,
) -> Prompts:
  """The text tower of CLIP, from a folder as Hugging Face has it.

  Prompts become 'text' [N, 77, D], the sequence after the last norm, and
  'pooled' [N, D]. With `sizes` there are two towers, those of SDXL: 'text' is
  what both have before their last block, and 'pooled' the second's embedding
  beside waves of the sizes. Sets repeat their captions, so the last few
  thousand encodings are kept.

  Args:
    folder: with model.safetensors, config.json, and merges.txt or
      tokenizer.json; or that of a Stable Diffusion, or its single file.
    sizes: that the U-Net of SDXL is told.
    sizes_dim: numbers of each size.

  Raises:
    ValueError: no folder is given.
    FileNotFoundError: a file is missing, by name.

  Source: Podell et al. 2023 (arXiv:2307.01952), sections 2.1 and 2.2.
  """
  if folder is None:
    raise ValueError(
      'condition.text=clip needs condition.clip, a folder with '
      'model.safetensors, config.json and merges.txt of a CLIP model'
    )
  if len(sizes) not in (0, 6):
    raise ValueError(f'condition.sizes must be six numbers, got {sizes}')
  numbers = ('', '_2') if sizes else ('',)
  found = [clip_folder.read_text(folder, number) for number in numbers]
  networks = [x.weights.network for x in found]
  zeros = bool(sizes) and clip_folder.zeros_for_empty(folder)
  waves = sinusoidal(jnp.array(sizes, jnp.float32), sizes_dim, 1.0, True, 0)

  @jax.jit
  def run(params: list[Any], tokens: list[Any]) -> dict[str, jax.Array]:
    features = [
      network.apply({'params': own}, ids)
      for network, own, ids in zip(networks, params, tokens, strict=True)
    ]
    if not sizes:
      return {'text': features[0].sequence, 'pooled': features[0].pooled}
    text = jnp.concatenate([x.penultimate for x in features], axis=-1)
    return {'text': text, 'pooled': features[1].embedding}

  params = [x.weights.params for x in found]

  def read(prompts: list[str]) -> dict[str, np.ndarray]:
    # Always as many, so that it is compiled once.
    padded = prompts + [''] * (CHUNK - len(prompts))
    rows = jax.device_get(
      run(params, [x.tokenizer.encode(padded) for x in found])
    )
    if sizes:
      keep = np.array([bool(x) or not zeros for x in padded])
      rows = {
        k: x * keep.reshape(-1, *[1] * (x.ndim - 1)) for k, x in rows.items()
      }
      told = np.broadcast_to(np.ravel(waves), (len(padded), waves.size))
      rows['pooled'] = np.concatenate([rows['pooled'], told], axis=-1)
    return rows

  dims = (networks[0].width,) * 2
  if sizes:
    width = sum(network.width for network in networks)
    dims = (width, (networks[1].projection_dim or 0) + waves.size)
  hashes = [(x.weights.sha256, x.tokenizer.sha256) for x in found]
  sha256 = files.json_hash([y for x in hashes for y in x])
  tokenizer = found[0].tokenizer
  return Prompts(kept(read), tokenizer.count, tokenizer.length, dims, sha256)
