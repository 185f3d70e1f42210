"""Folders of weights of diffusers and transformers: one file, or shards."""

import hashlib
import os
from pathlib import Path

import numpy as np

from jaxdiff.pretrained import configs
from jaxdiff.pretrained.configs import Config, section
from jaxdiff.pretrained.files import read_weights, sha256

_INDEX = '.safetensors.index.json'


def find_weights(folder: str | os.PathLike, stem: str, fetch: str) -> Path:
  """Finds `stem`.safetensors in a folder, the index of its shards, or .bin.

  Args:
    folder: The folder.
    stem: Name of the weights without an ending.
    fetch: What to get, and from where, for the message if there are none.

  Raises:
    FileNotFoundError: There are none; the message lists the names.
  """
  torch = {'model': 'pytorch_model'}.get(stem, stem)  # transformers' name
  endings = '.safetensors', _INDEX, '.fp16.safetensors'
  names = [*(stem + ending for ending in endings), torch + '.bin']
  for name in names:
    if (Path(folder) / name).is_file():
      return Path(folder) / name
  raise FileNotFoundError(
    f'{os.fspath(folder)} has none of {", ".join(names)}: fetch {fetch}'
  )


def read_state(path: Path, fetch: str) -> tuple[dict[str, np.ndarray], str]:
  """Reads a state dict, from one file or by the index of its shards.

  Args:
    path: From `find_weights`.
    fetch: As there.

  Returns:
    Name to array; and the SHA-256 of the file, of shards that of their hashes.

  Raises:
    FileNotFoundError: A shard is missing, by name.
    ValueError: A file cannot be read, or the index does not fit the shards.
  """
  return read_tensors(path, fetch), _sha256(path)


def read_tensors(path: Path, fetch: str) -> dict[str, np.ndarray]:
  """Reads a state dict as `read_state`, without the hash."""
  if path.suffix != '.json':
    return read_weights(path, fetch)
  index = configs.read(path, _shards, 'weights')
  state: dict[str, np.ndarray] = {}
  for name in sorted(set(index.values())):
    shard = path.parent / name
    _check_inside(shard)
    state |= read_weights(shard, fetch)
  lacking = sorted(set(index) - set(state))
  if lacking:
    raise ValueError(
      f'{path} lists {len(lacking)} tensors that its shards have not, such as '
      f'{lacking[0][:200]!r}'
    )
  return state


def _sha256(path: Path) -> str:
  if path.suffix != '.json':
    return sha256(path)
  digest = hashlib.sha256()
  for name in sorted(set(configs.read(path, _shards, 'weights').values())):
    digest.update(f'{name} {sha256(path.parent / name)}\n'.encode())
  return digest.hexdigest()


def missing(folder: Path, stem: str) -> list[str]:
  """Lists the files that a folder of weights lacks: shards, or the weights."""
  try:
    path = find_weights(folder, stem, '')
  except FileNotFoundError:
    return [f'{stem}.safetensors']
  if path.suffix != '.json':
    return []
  shards = sorted(set(configs.read(path, _shards, 'weights').values()))
  return [name for name in shards if not (folder / name).is_file()]


def _check_inside(shard: Path) -> None:
  """Raises ValueError for a link out of the folder, but to the Hub's cache.

  The cache has REPOSITORY/snapshots/REVISION/file -> REPOSITORY/blobs/hash.
  """
  folder, target = shard.parent.absolute(), shard.resolve().parent
  cached = target.name == 'blobs' and (
    target.with_name('snapshots') in folder.resolve().parents
  )
  if target != folder.resolve() and not cached:
    raise ValueError(f'{shard} is a link to a file outside of its folder')


def _shards(config: Config) -> dict[str, str]:
  """Returns tensor -> name of the file beside the index."""
  index = section(config, 'weight_map')
  for name in index.values():
    if not isinstance(name, str) or Path(name).name != name:
      raise ValueError(f'{str(name)[:200]!r} is no name of a file beside it')
  return dict(index)
