"""TFDS sets of images or of text, prepared on disk and read by index."""

import io
import os
from typing import TYPE_CHECKING

import numpy as np

from jaxdiff.data import prepared, records
from jaxdiff.data.dataset import CACHE_BYTES, Arrays, Dataset, from_files
from jaxdiff.data.images import decode_images
from jaxdiff.data.loading import call
from jaxdiff.data.sets import tfds_text

if TYPE_CHECKING:
  import tensorflow_datasets as tfds


def load(
  name: str,
  split: str,
  image_size: int | None = None,
  data_dir: str | os.PathLike | None = None,
  cache_bytes: int | None = None,
  length: int | None = None,
  tokenizer: str | os.PathLike | None = None,
  downsampling: str | None = None,
) -> Dataset:
  """Loads a split of a prepared set, as images or, if it has none, as text.

  The set is named as by TFDS, and a slice such as 'train[:90%]' is a split too.
  """
  builder = prepared.open_builder(name, data_dir)
  import tensorflow_datasets as tfds

  kinds = [type(feature) for feature in builder.info.features.values()]
  text = tfds.features.Text in kinds and tfds.features.Image not in kinds
  return call(
    tfds_text.load if text else load_images,
    f'tfds:{name}',
    builder,
    split=split,
    image_size=image_size,
    cache_bytes=cache_bytes,
    length=length,
    tokenizer=tokenizer,
    downsampling=downsampling,
  )


def load_images(
  builder: 'tfds.core.DatasetBuilder',
  split: str,
  image_size: int | None = None,
  cache_bytes: int = CACHE_BYTES,
  downsampling: str = 'bicubic',
) -> Dataset:
  """Loads images, with labels and captions where the set has them.

  Raises:
    ValueError: The split does not exist, the set has no uint8 image, or the
      images differ in size and `image_size` is None.
  """
  import tensorflow_datasets as tfds

  name, features = f'tfds:{builder.info.full_name}', builder.info.features
  key = prepared.feature(
    builder,
    'image',
    lambda f: isinstance(f, tfds.features.Image) and f.np_dtype == np.uint8,
  )
  label, caption = (dict(features).get(k) for k in ('label', 'caption'))
  has_label = isinstance(label, tfds.features.ClassLabel)
  if has_label and len(label.names) != label.num_classes:
    raise ValueError(
      f'{builder.data_path}/label.labels.txt is damaged: it has '
      f'{len(label.names)} of {label.num_classes} classes; delete the folder '
      'and prepare it again'
    )
  has_captions = isinstance(caption, tfds.features.Text)
  *sides, channels = features[key].shape
  if image_size is not None:
    sides = [image_size, image_size]
  if None in sides:
    raise ValueError(
      f'the images of {name!r} differ in size; give an image_size to resize '
      'and crop them'
    )
  shape = (*sides, 1 if channels == 1 else 3)
  used = (key, *['label'] * has_label, *['caption'] * has_captions)
  # Images stay encoded: TFDS would decode them without the checks here.
  captions = ('caption',) * has_captions
  source = records.open_split(builder, split, ('label', *captions), captions)

  def gather(indices: np.ndarray) -> Arrays:
    records = source.read(indices)
    named = [
      (
        io.BytesIO(record[key]),
        f'{index} of {name} {split}, {source.file(index)}',
      )
      for index, record in zip(indices, records, strict=True)
    ]
    arrays = {'x0': decode_images(named, shape, image_size, downsampling)}
    if has_label:
      labels = [record['label'] for record in records]
      arrays['label'] = np.array(labels, np.int32)
    if has_captions:
      captions = [record['caption'].decode() for record in records]
      arrays['caption'] = np.array(captions, object)
    return arrays

  dataset = Dataset(
    name=name,
    split=split,
    modality='image',
    size=source.size,
    shape=shape,
    num_classes=label.num_classes if has_label else None,
    gather=gather,
    has_captions=has_captions,
    class_names=tuple(label.names) if has_label else (),
    splits=tuple(builder.info.splits),
    content=lambda: records.content(builder, used),
  )
  return from_files(dataset, cache_bytes)
