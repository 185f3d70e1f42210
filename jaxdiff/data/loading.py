"""Looks up a data set by its name and checks the options for it."""

import dataclasses
import inspect
import os
from collections.abc import Callable
from typing import Any

from jaxdiff import names
from jaxdiff.data.dataset import Dataset, sample
from jaxdiff.data.sets import SETS

# The options of `load` and the flags that set them.
_FLAGS = {
  'image_size': '--data.image-size',
  'data_dir': '--data.data-dir',
  'cache_bytes': 'cache_bytes',
  'length': '--data.length',
  'tokenizer': '--data.tokenizer',
  'downsampling': '--data.downsampling',
}


def load(
  name: str,
  split: str = 'train',
  image_size: int | None = None,
  data_dir: str | os.PathLike | None = None,
  cache_bytes: int | None = None,
  *,
  length: int | None = None,
  tokenizer: str | os.PathLike | None = None,
  downsampling: str = 'bicubic',
) -> Dataset:
  """Loads a split of a data set.

  Args:
    name: One of `SETS`, such as 'digits', with its second part if it has one,
      such as 'folder:PATH' or 'tfds:NAME'; or 'package.module:function', a
      loader outside this library.
    split: 'train', 'test' or another split of the set.
    image_size: Side length that images are resized and cropped to.
    data_dir: Directory of prepared TFDS sets. Default: $TFDS_DATA_DIR, else
      ~/.cache/jaxdiff/data.
    cache_bytes: Images in files are kept in memory as uint8 up to this size,
      by default 4 GiB; a larger set is read batch by batch.
    length: Number of elements of an example of text.
    tokenizer: File of the library tokenizers, for text of TFDS.
    downsampling: How images become smaller, 'bicubic' or 'halved'; see
      `images.to_pixels`.

  Raises:
    ValueError: The name or the split is unknown, the set does not take an
      option, an example does not fit, or images have no pixels or more than 4
      channels.
    FileNotFoundError: The file or folder does not exist or is empty, or a TFDS
      set is not prepared; the message has the command that prepares it.
  """
  if image_size is not None and image_size < 1:
    raise ValueError(f'image_size must be at least 1, got {image_size}')
  if downsampling not in ('bicubic', 'halved'):
    raise ValueError(
      f"downsampling must be 'bicubic' or 'halved', got {downsampling!r}"
    )
  halved = downsampling == 'halved'
  if halved and image_size is None:
    raise ValueError(
      '--data.downsampling halved needs --data.image-size, the size wanted'
    )
  kind, colon, rest = name.partition(':')
  if kind in SETS:
    loader = names.resolve(SETS[kind], 'data.name')
    args = (rest,) if rest else ()
  elif colon:
    loader, args = _outside(name), ()
  else:
    raise ValueError(f'data.name must be one of {sorted(SETS)}, got {name!r}')
  options = {
    'image_size': image_size,
    'data_dir': data_dir,
    'cache_bytes': cache_bytes,
    'length': length,
    'tokenizer': tokenizer,
    'downsampling': downsampling if halved else None,
  }
  dataset = call(loader, name, *args, split=split, **options)
  if not isinstance(dataset, Dataset):
    raise ValueError(f'{name!r} must return a Dataset, got {dataset!r:.80}')
  if kind not in SETS and dataset.content is Dataset.content:
    found = dataset
    dataset = dataclasses.replace(dataset, content=lambda: sample(found))
  if halved:
    dataset = _also_identified(dataset, 'downsampling', downsampling)
  if dataset.modality == 'image':
    _check_images(name, dataset.shape)
  return dataclasses.replace(dataset, name=name)


def _also_identified(dataset: Dataset, part: str, value: str) -> Dataset:
  """Adds a part to what identifies the data."""
  content = dataset.content
  more = (part, value.encode())
  return dataclasses.replace(dataset, content=lambda: [*content(), more])


def _check_images(name: str, shape: tuple[int, ...]) -> None:
  """Raises ValueError for images [H, W, C] that could not be drawn."""
  if len(shape) != 3 or min(shape) < 1 or shape[2] > 4:
    raise ValueError(
      f'images must be [H, W, C] with C from 1 to 4, and {name!r} has '
      f'{list(shape)}'
    )


def call(
  loader: Callable[..., Dataset], name: str, /, *args: Any, **options: Any
) -> Dataset:
  """Calls a loader with the options that are not None.

  Raises:
    ValueError: The loader's signature lacks an option, or one without default
      is missing.
  """
  parameters = inspect.signature(loader).parameters
  given = {option: x for option, x in options.items() if x is not None}
  needed = _needed(loader)
  parts = [n.upper() for n in needed if n != 'split' and n not in _FLAGS]
  if len(parts) != len(args):
    form = ':'.join([name.partition(':')[0], *parts])
    raise ValueError(f'data.name must be {form!r}, got {name!r}')
  for option, flag in _FLAGS.items():
    if option in given and option not in parameters:
      known = (_FLAGS[n] for n in parameters if n in _FLAGS)
      takes = ', '.join(flag for flag in known if flag.startswith('--'))
      raise ValueError(f'{name!r} takes {takes or "no options"}, got {flag}')
    if option in needed and option not in given:
      raise ValueError(f'{name!r} needs {flag}')
  return loader(*args, **given)


def _outside(name: str) -> Callable[..., Dataset]:
  """Imports a loader outside this library."""
  try:
    loader = names.resolve(name, 'data.name')
    parameters = inspect.signature(loader).parameters
  except (TypeError, ValueError) as error:
    raise ValueError(f'{error}; the known names are {sorted(SETS)}') from error
  if 'split' not in parameters or set(_needed(loader)) - {'split', *_FLAGS}:
    raise ValueError(
      f'{name!r} must be a function of split and of options of data.load, got '
      f'{loader.__name__}{inspect.signature(loader)}'
    )
  return loader


def _needed(loader: Callable[..., Dataset]) -> list[str]:
  """Returns the parameters without a default."""
  parameters = inspect.signature(loader).parameters
  return [name for name, p in parameters.items() if p.default is p.empty]
