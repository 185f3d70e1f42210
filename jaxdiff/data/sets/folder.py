"""A folder of PNG and JPEG images.

  path/**/*.png               the split 'train', no labels
  path/<class>/**/*.png       the split 'train', labels by sub-folder
  path/{train,test}/...       two splits, each laid out as above
  path/captions.json          captions of all images; or one in each split

Every image below is used. Sub-folders are classes when there are at least two
and no image lies beside them; they are numbered in alphabetical order over
both splits together.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from jaxdiff.data.captions import read_captions
from jaxdiff.data.dataset import CACHE_BYTES, Arrays, Dataset, from_files
from jaxdiff.data.images import decode_image, is_grey

_SUFFIXES = ('.png', '.jpg', '.jpeg')


def load(
  path: str,
  split: str,
  image_size: int | None = None,
  cache_bytes: int = CACHE_BYTES,
) -> Dataset:
  """Reads a folder of images; grey if every one is grey, RGB otherwise.

  Args:
    path: The folder.
    split: 'train', or 'test' where there are sub-folders of those names.
    image_size: Edge to resize and crop to; needed when the sizes differ.

  Raises:
    FileNotFoundError: If there is no such folder, or no image in it.
    ValueError: If the split does not exist, the sizes differ and `image_size`
      is not given, a file is broken, or captions and images do not match
      (what is wrong is named).
  """
  path = Path(path).expanduser()
  if not path.is_dir():
    raise FileNotFoundError(f'no such folder of images: {path}')
  roots = {s: path / s for s in ('train', 'test') if (path / s).is_dir()}
  if 'train' not in roots:
    roots = {'train': path}
  if split not in roots:
    raise ValueError(f'split must be one of {list(roots)}, got {split!r}')
  images = {s: _images(root) for s, root in roots.items()}
  files = images[split]
  if not files:
    raise FileNotFoundError(
      f'no image under {roots[split]}; looked for {", ".join(_SUFFIXES)}'
    )
  # Over all splits, so that a class has one number.
  classes = _classes(
    [
      file.relative_to(root).parts
      for s, root in roots.items()
      for file in images[s]
    ]
  )
  labels = [
    classes.index(file.relative_to(roots[split]).parts[0])
    for file in (files if classes else [])
  ]
  captions = None
  for root in (roots[split], path):
    if (root / 'captions.json').is_file():
      known = [file for s in images for file in images[s]]
      captions = read_captions(root / 'captions.json', files, known)
      break
  channels = _scan(files, image_size)
  shape = decode_image(files[0], str(files[0]), channels, image_size).shape

  def gather(indices: np.ndarray) -> Arrays:
    x0 = np.empty((len(indices), *shape), np.uint8)
    for row, index in enumerate(indices):
      file = files[index]
      image = decode_image(file, str(file), channels, image_size)
      if image.shape != shape:
        # Equal in the header, but turned by its EXIF tag.
        raise ValueError(_sizes_differ(files[0], shape, file, image.shape))
      x0[row] = image
    arrays = {'x0': x0}
    if classes:
      arrays['label'] = np.array(labels, np.int32)[indices]
    if captions is not None:
      arrays['caption'] = np.array(captions, object)[indices]
    return arrays

  dataset = Dataset(
    name=f'folder:{path}',
    split=split,
    modality='image',
    size=len(files),
    shape=shape,
    num_classes=len(classes) or None,
    gather=gather,
    has_captions=captions is not None,
  )
  return from_files(dataset, cache_bytes)


def _images(root: Path) -> list[Path]:
  """Image files below a folder, sorted; hidden ones are left out."""
  return sorted(
    file
    for file in root.rglob('*')
    if file.suffix.lower() in _SUFFIXES
    and not any(part.startswith('.') for part in file.relative_to(root).parts)
    and file.is_file()
  )


def _classes(places: list[tuple[str, ...]]) -> list[str]:
  """Names of the class sub-folders of relative paths, [] without classes."""
  names = sorted({parts[0] for parts in places})
  beside = any(len(parts) == 1 for parts in places)
  return [] if beside or len(names) < 2 else names


def _scan(files: list[Path], image_size: int | None) -> int:
  """Checks every header before anything runs; returns the channels, 1 or 3."""
  grey = True
  first = None
  for file in files:
    try:
      with Image.open(file) as image:
        size, mode = (image.height, image.width), image.mode
    except Exception as error:
      raise ValueError(f'cannot read the image {file}: {error}') from error
    first = first or size
    if image_size is None and size != first:
      raise ValueError(_sizes_differ(files[0], first, file, size))
    grey = grey and is_grey(mode)
  return 1 if grey else 3


def _sizes_differ(
  first: Path, size: tuple[int, ...], other: Path, other_size: tuple[int, ...]
) -> str:
  return (
    'images must all have one size, got '
    f'{size[0]}x{size[1]} ({first}) and '
    f'{other_size[0]}x{other_size[1]} ({other}); give an image_size to resize '
    'and crop them'
  )
