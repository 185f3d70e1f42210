"""Features of images, block by block on disk, so that a long job goes on.

    FOLDER/KEY/START-STOP.HASH.safetensors

KEY stands for all that the features depend on, START and STOP for the images
they are of, HASH is the SHA-256 of the file: a block that was cut short or
changed is not taken for one, and computed again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from jaxdiff.evaluation.features import Features
from jaxdiff.evaluation.images import Images

# Images -> their features, batch by batch, in order.
Extract = Callable[[Iterable[np.ndarray]], Iterator[Features]]


def read(
  images: Images,
  start: int,
  stop: int,
  extract: Extract,
  directory: Path,
  *,
  batch_size: int,
  block_size: int = 256,
  progress: Callable[[int], Any] = lambda done: None,
) -> Iterator[Features]:
  """Yields the features of images start .. stop - 1, a block at a time.

  Blocks that are on disk are read; the others are computed, in one pass, and
  kept before the first is yielded.

  Args:
    images: what to take features of.
    start: of the first image.
    stop: after the last one.
    extract: one call takes all that is missing, so it is compiled once. It
      yields the features of each batch it is given.
    directory: from `folder`.
    batch_size: images at a time.
    block_size: images in a file: what is lost at most.
    progress: told of images found on disk; `extract` tells of its own.
  """
  directory.mkdir(parents=True, exist_ok=True)
  blocks = [
    (first, min(first + block_size, stop))
    for first in range(start, stop, block_size)
  ]
  missing = []
  for first, last in blocks:
    if _load(directory, first, last) is None:
      missing.append((first, last))
    else:
      progress(last - first)
  parts = extract(
    batch
    for first, last in missing
    for batch in images.batches(batch_size, first, last)
  )
  for first, last in missing:
    waiting: list[Features] = []
    while sum(_rows(part) for part in waiting) < last - first:
      waiting.append(next(parts))
    _save(directory, first, last, _joined(waiting))
  for first, last in blocks:
    block = _load(directory, first, last)
    if block is None:
      raise ValueError(
        f'block {first}-{last} of {directory} was changed while it was '
        'needed: run the command again, and one job at a time'
      )
    yield block


def folder(root: str | os.PathLike, key: Mapping[str, Any]) -> Path:
  """Where blocks of this key lie; `key` is anything JSON can hold."""
  text = json.dumps(key, sort_keys=True)
  return Path(root) / hashlib.sha256(text.encode()).hexdigest()[:16]


def _path(directory: Path, first: int, last: int, sha256: str) -> Path:
  return directory / f'{first}-{last}.{sha256[:32]}.safetensors'


def _load(directory: Path, first: int, last: int) -> Features | None:
  for path in directory.glob(f'{first}-{last}.*.safetensors'):
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if path == _path(directory, first, last, sha256):
      return safetensors.numpy.load(content)
    print(f'{path} is damaged, and is computed again')
    path.unlink()
  return None


def _save(directory: Path, first: int, last: int, features: Features) -> None:
  content = safetensors.numpy.save(features)
  path = _path(directory, first, last, hashlib.sha256(content).hexdigest())
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  with open(temporary, 'wb') as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)


def _joined(parts: list[Features]) -> Features:
  return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


def _rows(features: Features) -> int:
  return len(next(iter(features.values())))
