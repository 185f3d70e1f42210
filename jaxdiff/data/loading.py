"""The name of a set -> the set."""

import dataclasses
import os
import shlex

from jaxdiff.data.dataset import Dataset, cached, threaded
from jaxdiff.data.folder import read_folder
from jaxdiff.data.preparing import (
  prepare_captioned_shapes,
  prepare_digits,
  resolve_data_dir,
)
from jaxdiff.data.records import find_prepared, read_prepared


def load(
  name: str,
  split: str = 'train',
  image_size: int | None = None,
  data_dir: str | os.PathLike | None = None,
  cache_bytes: int = 4 << 30,
) -> Dataset:
  """Loads a split of a set of images.

  Args:
    name: 'digits' (1,797 scans of 8x8, built in), 'captioned_shapes' (24,000
      drawn scenes of 16x16 or 32x32, built in), 'tfds:<name>' (any prepared
      TFDS image set) or 'folder:<path>' (PNG and JPEG files).
    split: 'train', 'test' or what else the set has.
    image_size: Edge to resize and crop to; None keeps the size. Of
      captioned_shapes 16 or 32 (the default), drawn at that size.
    data_dir: Where prepared sets are. Default: $TFDS_DATA_DIR, else
      ~/.cache/jaxdiff/data.
    cache_bytes: Up to this size (default 4 GiB) the images are kept in
      memory as uint8; a larger set is read from its files, batch by batch.

  Raises:
    ValueError: If the name or the split is unknown, or an image does not fit.
    FileNotFoundError: If the set is not prepared, naming the command that
      does it, or the folder does not exist or has no image.
  """
  kind, _, rest = name.partition(':')
  if image_size is not None and image_size < 1:
    raise ValueError(f'image_size must be at least 1, got {image_size}')
  if name == 'digits':
    folder = prepare_digits(resolve_data_dir(data_dir))
    dataset = read_prepared(folder, name, split, image_size)
  elif name == 'captioned_shapes':
    root = resolve_data_dir(data_dir)
    folder = prepare_captioned_shapes(root, image_size)
    dataset = read_prepared(folder, name, split)
  elif kind == 'tfds' and rest:
    root = resolve_data_dir(data_dir)
    folder = find_prepared(root, rest)
    if folder is None:
      command = f'python -m jaxdiff.data prepare {shlex.quote(name)}'
      if data_dir is not None:
        command += f' --data-dir {shlex.quote(os.fspath(data_dir))}'
      raise FileNotFoundError(
        f'{name!r} is not prepared in {root}; prepare it once with: {command}'
      )
    dataset = read_prepared(folder, name, split, image_size)
  elif kind == 'folder' and rest:
    dataset = read_folder(rest, split, image_size)
  else:
    raise ValueError(
      "the name of a set must be 'digits', 'captioned_shapes', 'tfds:<name>' "
      f"or 'folder:<path>', got {name!r}"
    )
  dataset = dataclasses.replace(dataset, name=name)
  reader = threaded(dataset)
  return cached(reader) if dataset.num_bytes <= cache_bytes else reader
