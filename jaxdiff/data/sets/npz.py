"""NPZ files of images: uint8 [N, H, W, C] under arr_0, labels [N] under arr_1.

The layout is that of guided-diffusion. Labels are optional, whole numbers from
0.
"""

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
MAX_LABELS = 1_000_000  # more are no classes, and would be a huge table


def load(path: str, split: str) -> Dataset:
  """Reads the images of a file, as sample.py and others write them.

  Raises:
    FileNotFoundError: No such file.
    ValueError: A damaged file, no uint8 [N, H, W, C] under arr_0, or an arr_1
      that is no labels; a split other than 'train' and 'all'.
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
      labels = arrays['arr_1'] if 'arr_1' in arrays else None
  except (OSError, *DAMAGED) as error:
    raise ValueError(
      f'{path} cannot be read as images under arr_0: {error}'
    ) from error
  if x.dtype != np.uint8 or x.ndim != 4 or not len(x):
    raise ValueError(
      f'arr_0 must be uint8 [N, H, W, C], got {x.dtype} {list(x.shape)} in '
      f'{path}'
    )
  arrays, parts = {'x0': x}, [('images', x.data)]
  if labels is not None:
    _check_labels(labels, len(x), path)
    arrays['label'] = np.ascontiguousarray(labels, np.int32)
    parts.append(('labels', arrays['label'].data))
  return in_memory(
    f'npz:{path}',
    split,
    'image',
    arrays,
    None if labels is None else int(labels.max()) + 1,
    splits=('train',),
    content=lambda: parts,
  )


def _check_labels(labels: np.ndarray, size: int, path: str) -> None:
  whole = np.issubdtype(labels.dtype, np.integer) and labels.shape == (size,)
  if not whole or labels.min() < 0 or labels.max() >= MAX_LABELS:
    raise ValueError(
      f'arr_1 must be {size} labels, whole numbers in [0, {MAX_LABELS}), got '
      f'{labels.dtype} {list(labels.shape)} in {path}'
    )
