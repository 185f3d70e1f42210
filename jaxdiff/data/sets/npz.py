"""NPZ files of images: uint8 [N, H, W, C] under the name arr_0."""

import zipfile
import zlib

import numpy as np

from jaxdiff import files
from jaxdiff.data.dataset import Dataset, check_split, in_memory

# Errors of NumPy and zipfile for a damaged file. NotImplementedError is that of
# an unknown compression.
DAMAGED = (
  EOFError,
  KeyError,
  NotImplementedError,
  RuntimeError,
  ValueError,
  zipfile.BadZipFile,
  zlib.error,
)

# A few megabytes of a stranger's may unpack to gigabytes; images do not.
MAX_BYTES, MAX_RATIO = 1 << 30, 100


def load(path: str, split: str) -> Dataset:
  """Reads the images of a file, as sample.py and others write them.

  Raises:
    FileNotFoundError: No such file.
    ValueError: A damaged file, or no uint8 [N, H, W, C] under arr_0; a split
      other than 'train' and 'all'.
  """
  check_split(split, ('train', 'all'), path)
  local = files.regular(path)
  try:
    with zipfile.ZipFile(local) as archive:
      parts = archive.infolist()
    size = sum(part.file_size for part in parts)
    packed = sum(part.compress_size for part in parts)
    if size > max(MAX_BYTES, MAX_RATIO * packed):
      raise ValueError(f'it unpacks to {size} bytes')
    with np.load(local) as arrays:
      x = np.ascontiguousarray(arrays['arr_0'])
  except (OSError, *DAMAGED) as error:
    raise ValueError(
      f'{path} cannot be read as images under arr_0: {error}'
    ) from error
  if x.dtype != np.uint8 or x.ndim != 4 or not len(x):
    raise ValueError(
      f'arr_0 must be uint8 [N, H, W, C], got {x.dtype} {list(x.shape)} in '
      f'{path}'
    )
  return in_memory(
    f'npz:{path}',
    split,
    'image',
    {'x0': x},
    splits=('train',),
    content=lambda: [('images', x.data)],
  )
