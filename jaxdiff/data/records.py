"""Sets prepared by TFDS as array_record files, read by index."""

import io
import re
from pathlib import Path

import numpy as np

from jaxdiff.data.dataset import Arrays, Dataset
from jaxdiff.data.images import decode_image


def find_prepared(data_dir: Path, name: str) -> Path | None:
  """Where a set is prepared, or None.

  Args:
    data_dir: The directory of all sets.
    name: 'set', 'set/config', each optionally with ':version'. Without a
      version the newest; without a config the only one.

  Raises:
    ValueError: If several configs of the set are prepared and none is named.
  """
  stem, _, version = name.partition(':')
  # The dots tell a finished version from TFDS's 'incomplete...' directories.
  folders = [
    folder
    for pattern in ('*', '*/*')
    for folder in (data_dir / stem).glob(pattern)
    if re.fullmatch(r'\d+\.\d+\.\d+', folder.name)
    and (folder / 'dataset_info.json').is_file()
    and version in ('', folder.name)
  ]
  configs = sorted({str(f.parent.relative_to(data_dir)) for f in folders})
  if len(configs) > 1:
    raise ValueError(
      f'several configs of {name!r} are prepared in {data_dir}; name one of '
      f'{["tfds:" + config for config in configs]}'
    )
  return max(folders, key=_version, default=None)


def read_prepared(
  folder: Path, name: str, split: str = 'train', image_size: int | None = None
) -> Dataset:
  """Reads a prepared set through TFDS's random-access data source.

  Args:
    folder: '.../set/version' as `find_prepared` gives it.
    name: What the set was asked for as.
    split: A split of the set; TFDS's slices such as 'train[:90%]' work.
    image_size: Edge to resize and crop to; needed when the sizes differ.

  Raises:
    ValueError: If the split does not exist, the files are not array_record,
      the set has no uint8 image, or its sizes differ and `image_size` is None.
  """
  import tensorflow_datasets as tfds  # Half a second: only when needed.

  builder = tfds.builder_from_directory(folder)
  parts = [part.partition('[')[0].strip() for part in split.split('+')]
  if not set(parts) <= set(builder.info.splits):
    raise ValueError(
      f'split of {name!r} must be one of {list(builder.info.splits)}, got '
      f'{split!r}'
    )
  file_format = builder.info.file_format.value
  if file_format != 'array_record':
    raise ValueError(
      f'{name!r} in {folder} is stored as {file_format}, which cannot be read '
      f'by index; prepare it as array_record in another --data-dir'
    )
  features = builder.info.features
  image_key = _image_key(features, name)
  label = features['label'] if 'label' in features else None
  has_label = isinstance(label, tfds.features.ClassLabel)
  text = features['caption'] if 'caption' in features else None
  has_captions = isinstance(text, tfds.features.Text)
  *edges, channels = features[image_key].shape
  channels = 1 if channels == 1 else 3
  if image_size is not None:
    edges = [image_size, image_size]
  if None in edges:
    raise ValueError(
      f'the images of {name!r} differ in size; give an image_size to resize '
      'and crop them'
    )
  shape = (*edges, channels)

  # The image stays encoded (TFDS would decode it without the checks of
  # `decode_image`), and what is not used is not decoded either.
  used = ('label', 'caption')
  skip = {
    key: tfds.decode.SkipDecoding() for key in features if key not in used
  }
  source = builder.as_data_source(split, decoders=skip)

  def gather(indices: np.ndarray) -> Arrays:
    records = source.__getitems__([int(index) for index in indices])
    x0 = np.empty((len(indices), *shape), np.uint8)
    for row, (index, record) in enumerate(zip(indices, records, strict=True)):
      x0[row] = decode_image(
        io.BytesIO(record[image_key]),
        f'{index} of {name} {split}',
        channels,
        image_size,
      )
    arrays = {'x0': x0}
    if has_label:
      labels = [record['label'] for record in records]
      arrays['label'] = np.array(labels, np.int32)
    if has_captions:
      captions = [record['caption'].decode() for record in records]
      arrays['caption'] = np.array(captions, object)
    return arrays

  return Dataset(
    name=name,
    split=split,
    size=len(source),
    shape=shape,
    num_classes=label.num_classes if has_label else None,
    gather=gather,
    has_captions=has_captions,
  )


def _image_key(features, name: str) -> str:
  """The feature 'image', or the only image feature under another name."""
  import tensorflow_datasets as tfds

  keys = [
    key
    for key, feature in features.items()
    if isinstance(feature, tfds.features.Image) and feature.np_dtype == np.uint8
  ]
  if 'image' in keys:
    return 'image'
  if len(keys) != 1:
    raise ValueError(
      f'{name!r} must have one feature that is a uint8 image, got {keys} '
      f'among {list(features)}'
    )
  return keys[0]


def _version(folder: Path) -> tuple[int, ...]:
  return tuple(int(part) for part in folder.name.split('.'))
