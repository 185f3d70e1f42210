"""Folders of images, with classes, splits and captions.

  path/**/*.png               the split 'train', no labels
  path/<class>/**/*.png       the split 'train', labels by sub-folder
  path/{train,test}/...       splits, each laid out as above
  path/captions.json          captions of all images; or one in each split

Every image below is used, or loading fails and names what it would leave out.
Links are followed; only hidden files and folders are skipped. The split 'all'
has all images. Each has one frame, 8 bits a channel, and at most 33 million
pixels, as JPEG 67 million.

Sub-folders are splits where all of them are named like splits ('Train',
'testing', 'val2017'); the splits are then 'train', 'val' and 'test'. Otherwise
they are classes, when there are at least two and no image lies beside them.
Classes are numbered in alphabetical order over all splits together. Folders
that are neither clearly splits nor clearly classes are refused, since a test
split must not become a class.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxdiff.data.captions import read_captions
from jaxdiff.data.dataset import (
  CACHE_BYTES,
  Arrays,
  Dataset,
  check_split,
  from_files,
)
from jaxdiff.data.images import (
  decode_image,
  decode_images,
  is_grey,
  open_image,
  upright_size,
)
from jaxdiff.data.sets.folder_layout import find_images, split_of, splits_of
from jaxdiff.files import local

_CAPTIONS = 'captions.json'
_SAMPLE = 64 << 20  # bytes of images that a digest reads


def load(
  path: str,
  split: str,
  image_size: int | None = None,
  cache_bytes: int = CACHE_BYTES,
  downsampling: str = 'bicubic',
) -> Dataset:
  """Loads a folder of images; grey if all are grey, else RGB.

  Args:
    path: The folder.
    split: 'train', 'val' or 'test', by any of their names; or 'all'.
    image_size: Side length to resize and crop to; needed if the sizes differ.
    cache_bytes, downsampling: As in `data.load`.

  Raises:
    FileNotFoundError: There is no such folder, or no image in it.
    ValueError: Images would be left out, the split does not exist, the sizes
      differ and `image_size` is not given, an image cannot be read, or captions
      and images do not match.
  """
  root = local(path).expanduser()
  if not root.is_dir():
    raise FileNotFoundError(f'no such folder of images: {root}')
  images = find_images(root)
  if not images:
    raise FileNotFoundError(f'no image under {root}')
  tops = splits_of(root, images)
  split = split_of(split) or split
  check_split(split, (*tops, 'all'), f'folder:{path}')
  # Classes of all splits, so that each has one number.
  depth = 0 if None in tops.values() else 1
  classes = _classes([file.parts[depth:] for file in images])
  parts = {
    name: [file for file in images if top in (None, file.parts[0])]
    for name, top in tops.items()
  }
  chosen = list(parts) if split == 'all' else [split]
  files = [file for name in chosen for file in parts[name]]
  captions = {}
  for name in chosen:
    if source := _captions_file(root, tops[name]):
      known, part = ([root / f for f in x] for x in (images, parts[name]))
      texts = read_captions(source, part, known)
      captions |= dict(zip(parts[name], texts, strict=True))
  labels = np.array(
    [classes.index(f.parts[depth]) for f in files if classes], np.int32
  )
  channels = _scan([root / file for file in files], image_size)
  first = root / files[0]
  shape = decode_image(first, str(first), channels, image_size).shape

  def gather(indices: np.ndarray) -> Arrays:
    paths = [root / files[index] for index in indices]
    named = [(path, str(path)) for path in paths]
    arrays = {'x0': decode_images(named, shape, image_size, downsampling)}
    if classes:
      arrays['label'] = labels[indices]
    if captions:
      texts = [captions[files[index]] for index in indices]
      arrays['caption'] = np.array(texts, object)
    return arrays

  dataset = Dataset(
    name=f'folder:{path}',
    split=split,
    modality='image',
    size=len(files),
    shape=shape,
    num_classes=len(classes) or None,
    gather=gather,
    has_captions=bool(captions),
    class_names=tuple(classes),
    splits=tuple(tops),
    content=lambda: _content(root, tops, parts),
  )
  return from_files(dataset, cache_bytes)


def _classes(places: Sequence[tuple[str, ...]]) -> list[str]:
  """Names of the class folders of relative paths, [] without classes."""
  names = sorted({parts[0] for parts in places})
  beside = any(len(parts) == 1 for parts in places)
  return [] if beside or len(names) < 2 else names


def _captions_file(root: Path, top: str | None) -> Path | None:
  """Finds the captions of a split: its own, or those of all."""
  files = [folder / _CAPTIONS for folder in (root / (top or ''), root)]
  # One that is no file, or a broken link, is refused where it is read.
  return next((file for file in files if os.path.lexists(file)), None)


def _scan(files: Sequence[Path], image_size: int | None) -> int:
  """Checks every header before anything runs; returns the channels, 1 or 3."""
  grey = True
  first = None
  for file in files:
    with open_image(file, str(file)) as image:
      grey = grey and is_grey(image)
      size = upright_size(image) if image_size is None else None
    first = first or size
    if size != first:
      raise ValueError(
        'images must all have one size, got '
        f'{first[0]}x{first[1]} ({files[0]}) and {size[0]}x{size[1]} ({file}); '
        'give an image_size to resize and crop them'
      )
  return 1 if grey else 3


def _content(
  root: Path,
  tops: Mapping[str, str | None],
  parts: Mapping[str, Sequence[Path]],
) -> Iterator[tuple[str, bytes]]:
  """Yields names and sizes of all images, an even sample of them, captions."""
  for name, files in parts.items():
    folder = root / (tops[name] or '')
    paths = [root / file for file in files]
    names = [path.relative_to(folder).as_posix() for path in paths]
    yield f'{name} file names', repr(names).encode()
    sizes = [path.stat().st_size for path in paths]
    yield f'{name} images', repr(sizes).encode()
    for path in paths[:: 1 + sum(sizes) // _SAMPLE]:
      yield f'{name} images', path.read_bytes()
    source = _captions_file(root, tops[name])
    yield f'{name} captions', source.read_bytes() if source else b''
