"""The name of a set -> the set."""

import dataclasses
import os
import shlex
from pathlib import Path

from jaxdiff.data.dataset import Dataset, cached, threaded
from jaxdiff.data.folder import read_folder
from jaxdiff.data.preparing import (
  prepare_captioned_shapes,
  prepare_digits,
  resolve_data_dir,
)
from jaxdiff.data.records import find_prepared, read_prepared
from jaxdiff.data.sums import load_sums
from jaxdiff.data.text_files import read_lines, read_text
from jaxdiff.data.text_records import has_text, read_text_records

# What `graph_sets` has; it is read only when it is needed, as networkx takes
# half a second.
GRAPHS = (
  'community_small',
  'grid',
  'grid_small',
  'planar',
  'sbm',
  'sbm_small',
  'trees',
)

_NAMES = f"""the name of a set must be
  digits, captioned_shapes, folder:PATH     images
  sums, text:PATH, lines:PATH               text
  {', '.join(GRAPHS)}
  smiles:PATH                               graphs
  tfds:NAME                                 images or text"""


def load(
  name: str,
  split: str = 'train',
  image_size: int | None = None,
  data_dir: str | os.PathLike | None = None,
  cache_bytes: int = 4 << 30,
  *,
  length: int | None = None,
  tokenizer: str | os.PathLike | None = None,
) -> Dataset:
  """Loads a split of a set of images, texts or graphs.

  Args:
    name: Images: 'digits' (1,797 scans of 8x8), 'captioned_shapes' (24,000
      drawn scenes of 16x16 or 32x32), both built in, or 'folder:<path>' (PNG
      and JPEG files). Text: 'sums' (built in), 'text:<path>' (a file of running
      text), 'lines:<path>' (a file of lines). Graphs: the sets of `graph_sets`,
      built in, or 'smiles:<path>' (a file of molecules). 'tfds:<name>' is any
      prepared TFDS set of images or text.
    split: 'train', 'test' or what else the set has.
    image_size: Edge to resize and crop to; None keeps the size. Of
      captioned_shapes 16 or 32 (the default), drawn at that size.
    data_dir: Where prepared sets are. Default: $TFDS_DATA_DIR, else
      ~/.cache/jaxdiff/data.
    cache_bytes: Up to this size (default 4 GiB) the images are kept in
      memory as uint8; a larger set is read from its files, batch by batch.
    length: Of an example of text. Lines may do without, and sums have their
      own.
    tokenizer: Of a TFDS text: a file of the library tokenizers.

  Raises:
    ValueError: If the name or the split is unknown, an option is for other
      data, or an example does not fit.
    FileNotFoundError: If the set is not prepared, naming the command that
      does it, or the file or folder does not exist or has nothing.
  """
  kind, _, rest = name.partition(':')
  folder = None
  if kind == 'tfds' and rest:
    folder = _find(name, rest, data_dir)
  texts = kind in ('text', 'lines') or (folder and has_text(folder))
  graphs = kind == 'smiles' or name in GRAPHS
  images = not texts and not graphs and name != 'sums'
  if image_size is not None and not images:
    raise ValueError(f'image_size is for images, and {name!r} has none')
  if length is not None and not texts:
    raise ValueError(f'length is for text of any length, not for {name!r}')
  if tokenizer is not None and not (texts and folder):
    raise ValueError(f'a tokenizer is for TFDS sets of text, not for {name!r}')
  if image_size is not None and image_size < 1:
    raise ValueError(f'image_size must be at least 1, got {image_size}')
  if texts and length is None and kind != 'lines':
    raise ValueError(
      f'{name!r} is running text: give the length of an example, for instance '
      '--data.length 256'
    )

  if name == 'sums':
    dataset = load_sums(split)
  elif kind == 'text' and rest:
    dataset = read_text(rest, split, length)
  elif kind == 'lines' and rest:
    dataset = read_lines(rest, split, length)
  elif kind == 'smiles' and rest:
    from jaxdiff.data.molecules import read_smiles

    dataset = read_smiles(rest, split)
  elif graphs:
    from jaxdiff.data.graphs import read_graphs

    dataset = read_graphs(name, split)
  elif texts and folder:
    dataset = read_text_records(folder, name, split, length, tokenizer)
  else:
    return _load_images(name, split, image_size, data_dir, cache_bytes, folder)
  return dataclasses.replace(dataset, name=name)


def _load_images(
  name: str,
  split: str,
  image_size: int | None,
  data_dir: str | os.PathLike | None,
  cache_bytes: int,
  folder: Path | None,
) -> Dataset:
  kind, _, rest = name.partition(':')
  if name == 'digits':
    folder = prepare_digits(resolve_data_dir(data_dir))
    dataset = read_prepared(folder, name, split, image_size)
  elif name == 'captioned_shapes':
    root = resolve_data_dir(data_dir)
    folder = prepare_captioned_shapes(root, image_size)
    dataset = read_prepared(folder, name, split)
  elif folder:
    dataset = read_prepared(folder, name, split, image_size)
  elif kind == 'folder' and rest:
    dataset = read_folder(rest, split, image_size)
  else:
    raise ValueError(f'{_NAMES}\ngot {name!r}')
  dataset = dataclasses.replace(dataset, name=name)
  reader = threaded(dataset)
  return cached(reader) if dataset.num_bytes <= cache_bytes else reader


def _find(name: str, rest: str, data_dir: str | os.PathLike | None) -> Path:
  """Where the TFDS set is prepared."""
  root = resolve_data_dir(data_dir)
  folder = find_prepared(root, rest)
  if folder is None:
    command = f'python -m jaxdiff.data prepare {shlex.quote(name)}'
    if data_dir is not None:
      command += f' --data-dir {shlex.quote(os.fspath(data_dir))}'
    raise FileNotFoundError(
      f'{name!r} is not prepared in {root}; prepare it once with: {command}'
    )
  return folder
