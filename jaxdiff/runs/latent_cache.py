"""Cache of latents: images encoded once, as array_record files.

    FOLDER/KEY/about.json             the autoencoder, the data, their number
    FOLDER/KEY/00000.array_record     `SHARD` records, written whole or not

KEY is a hash of about.json: of the hash of the autoencoder's weights, of the
identity of the data, the split and its size. So latents of other weights are
never found. A record has mean and log variance of q(z | x), float32, then the
label, int32, and the caption, UTF-8, where the set has them. An encoding that
was interrupted goes on with the first missing file.
"""

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from array_record.python import array_record_module as array_record
from tqdm import tqdm

from jaxdiff import files, parallel
from jaxdiff.data.dataset import Arrays, Dataset
from jaxdiff.pretrained.autoencoder_weights import load_autoencoder

SHARD, BATCH = 4096, 64  # records in a file; images encoded at a time
_RANDOM = 'readahead_buffer_size:0,max_parallelism:0'


def cached(dataset: Dataset, autoencoder: str, folder: str) -> Dataset:
  """Encodes what is not encoded yet, and replaces images by their moments.

  All processes must call.

  Args:
    dataset: Of images.
    autoencoder: Its folder.
    folder: Of all caches, on a file system that all processes see.

  Returns:
    The set with 'x0' {'mean', 'log_variance'}, float32 [b, h, w, C] each.

  Raises:
    ValueError: A file is damaged or of other data; the folder is in a bucket;
      the examples have more than images, labels and captions.
  """
  root = files.as_path(folder)
  if not files.is_local(root):
    raise ValueError(f'--latent.cache must be a local folder, got {folder}')
  network, params, sha256 = load_autoencoder(autoencoder)
  about = {
    'autoencoder': sha256,
    'data': dataset.digest(),
    'split': dataset.split,
    'num': len(dataset),
    'shape': list(dataset.shape),
    'shard': SHARD,
  }
  place = root / files.json_hash(about)
  _check_about(place, about)

  @jax.jit
  def encode(params: Any, images: jax.Array) -> Any:
    return network.apply({'params': params}, images, method='moments')

  run = lambda images: jax.device_get(encode(params, images))
  starts = range(0, len(dataset), SHARD)
  paths = [place / f'{i:05d}.array_record' for i in range(len(starts))]
  missing = [
    pair for pair in zip(starts, paths, strict=True) if not pair[1].exists()
  ]
  index, num = parallel.process()
  desc = f'latents {dataset.name}'
  for start, path in tqdm(missing[index::num], desc, disable=not missing):
    if not path.exists():  # another job may have written it by now
      _write(path, _records(dataset, run, start))
  parallel.any_process(False)  # the others' files are there
  shape = jax.eval_shape(
    encode, params, jax.ShapeDtypeStruct((1, *dataset.shape), np.float32)
  ).mean.shape[1:]
  return replace(dataset, gather=_Reader(dataset, paths, shape))


def _check_about(place: Path, about: dict[str, Any]) -> None:
  """Writes about.json, or checks that it is the same."""
  path = place / 'about.json'
  if parallel.is_primary() and not path.exists():
    files.write_json(path, about)
  parallel.any_process(False)
  if files.read_json(path, 'the cache of latents') != about:
    raise ValueError(f'{place} has latents of another set: remove it')


def _records(dataset: Dataset, run: Any, start: int) -> Iterator[bytes]:
  """Yields the records of a file, from example `start` on."""
  stop = min(start + SHARD, len(dataset))
  for first in range(start, stop, BATCH):
    arrays = dict(dataset.gather(np.arange(first, min(first + BATCH, stop))))
    images = arrays.pop('x0')
    label, caption = (arrays.pop(name, None) for name in ('label', 'caption'))
    if arrays:
      raise ValueError(
        f'--latent.cache keeps labels and captions, and {dataset.name} also '
        f'has {sorted(arrays)}'
      )
    missing = BATCH - len(images)  # always as many: one program
    x = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
    mean, log_variance = run(x.astype(np.float32) / 127.5 - 1)
    for i in range(len(images)):
      record = mean[i].tobytes() + log_variance[i].tobytes()
      record += b'' if label is None else np.int32(label[i]).tobytes()
      yield record + (b'' if caption is None else caption[i].encode())


def _write(path: Path, records: Iterator[bytes]) -> None:
  def write(file: Path) -> None:
    writer = array_record.ArrayRecordWriter(str(file), 'group_size:1')
    for record in records:
      writer.write(record)
    writer.close()

  files.save(path, write)


class _Reader:
  """Gathers examples of files of records; safe from several threads."""

  def __init__(self, dataset: Dataset, paths: list[Path], shape: Any):
    self._shape, self._paths = shape, paths
    self._labels = dataset.num_classes is not None
    self._captions = dataset.has_captions
    self._lock, self._files = threading.Lock(), []
    for i, path in enumerate(paths):
      wanted = min(SHARD, len(dataset) - i * SHARD)
      with _damage(path):
        file = array_record.ArrayRecordReader(str(path), _RANDOM)
        if file.num_records() != wanted:
          raise ValueError(f'{file.num_records()} of {wanted} records')
      self._files.append(file)

  def __call__(self, indices: np.ndarray) -> Arrays:
    with self._lock:
      records = [self._read(*divmod(int(i), SHARD)) for i in indices]
    size = 2 * math.prod(self._shape)
    flat = np.stack([np.frombuffer(r, np.float32, size) for r in records])
    moments = flat.reshape(len(records), 2, *self._shape)
    names = ('mean', 'log_variance')
    arrays: Arrays = {'x0': {n: moments[:, i] for i, n in enumerate(names)}}
    rest = [record[4 * size :] for record in records]
    if self._labels:
      arrays['label'] = np.array(
        [np.frombuffer(r, np.int32, 1)[0] for r in rest]
      )
      rest = [record[4:] for record in rest]
    if self._captions:
      arrays['caption'] = np.array([r.decode() for r in rest], object)
    return arrays

  def _read(self, shard: int, place: int) -> bytes:
    with _damage(self._paths[shard]):
      return self._files[shard].read([place])[0]


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
  """Names the file, and the cure, in any error."""
  try:
    yield
  except (RuntimeError, ValueError, IndexError, OSError) as error:
    raise ValueError(
      f'{path} is damaged ({error}): remove it, and it is encoded again'
    ) from error
