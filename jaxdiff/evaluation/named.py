"""What --samples and --reference stand for.

digits[:SPLIT]  captioned_shapes[:SPLIT]  tfds:NAME[:SPLIT]
folder:PATH[:train|test]                  named sets, 'train' by default
DIR                                       a folder of PNG or JPEG files
FILE.npz                                  images under arr_0, or published
                                          statistics, mu and sigma
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxdiff import data
from jaxdiff.evaluation import images, references
from jaxdiff.evaluation.images import Images


class Named(NamedTuple):
  """A set of `data.load`."""

  name: str
  split: str
  image_size: int | None = None
  data_dir: str | None = None

  def __str__(self) -> str:
    return f'{self.name} {self.split}'


def parse(
  text: str, image_size: int | None = None, data_dir: str | None = None
) -> Named | Path:
  """A named set, or the path of a folder or file."""
  kind, _, rest = text.partition(':')
  built_in = kind in ('digits', 'captioned_shapes')
  if built_in and (not rest or rest.isidentifier()):
    return Named(kind, rest or 'train', image_size, data_dir)
  if kind in ('tfds', 'folder') and rest:
    # tfds:mnist:3.0.1 ends in a version, folder:a:b may be a path.
    split = r'[A-Za-z_]\w*' if kind == 'tfds' else 'train|test'
    found = re.fullmatch(f'(.+):({split})', rest)
    name, split = found.groups() if found else (rest, 'train')
    return Named(f'{kind}:{name}', split, image_size, data_dir)
  return Path(text)


def load(source: Named, num: int | None = None) -> Images:
  """The images of a set; errors as `data.load`."""
  return images.read(data.load(*source), num)


def other_split(source: Named) -> Named:
  """Test of train, and train of all else: what a floor is measured on."""
  split = 'test' if source.split == 'train' else 'train'
  return source._replace(split=split)


def is_statistics(source: Named | Path) -> bool:
  """Whether it is an .npz of published statistics."""
  return (
    isinstance(source, Path)
    and source.is_file()
    and references.has_statistics(source)
  )


def is_run(path: str | Path) -> bool:
  """Whether it is a workdir of train.py."""
  path = Path(path)
  return (path / 'config.json').is_file() and (path / 'checkpoints').is_dir()


def read_captions(
  text: str, image_size: int | None = None, data_dir: str | None = None
) -> list[str]:
  """The captions of a folder or named set, one for each image.

  Raises:
    ValueError: it has none.
  """
  source = parse(text, image_size, data_dir)
  if isinstance(source, Path):
    source = Named(f'folder:{source}', 'train')
  dataset = data.load(*source)
  if not dataset.has_captions:
    raise ValueError(
      f'{text} has no captions: give --prompts FILE, a line for each image, '
      'or put captions.json beside the images'
    )
  return list(dataset.gather(np.arange(len(dataset)))['caption'])
