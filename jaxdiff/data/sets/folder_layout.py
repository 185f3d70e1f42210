"""Layout of a folder of images: which files are images, which folders splits.

Nothing is left out in silence: what is not used raises an error that names it.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxdiff.data.captions import listed

_READ = set(
  '.png .apng .jpg .jpeg .jpe .jfif .mpo .webp .bmp .dib .gif .tif .tiff .ppm '
  '.pgm .pbm .pnm'.split()
)
# Images of formats that are not read.
_UNREAD = set(
  '.arw .avif .cr2 .dng .eps .exr .hdr .heic .heif .ico .j2k .jp2 .jpx '
  '.jxl .nef .pcx .psd .qoi .svg .tga .xpm'.split()
)
# Usual files beside images, which need no look at their first bytes.
_NO_IMAGE = {'.txt', '.json', '.xml', '.csv'}
_MAGIC = re.compile(
  rb'\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|II\*\0|MM\0\*', re.DOTALL
)
# Names of splits, alone or before a word such as 'set' or 'images'.
_SPLITS = {
  'train': 'train|training|trn|trainval',
  'val': 'val|valid|validation|dev|eval|evaluation',
  'test': 'test|testing|tst|holdout|heldout',
}
_AFTER = 'sets?|data|split|imgs?|images?|files?'
# Only within a longer name, such as imagesTr: alone they may be languages.
_SHORT = {'tr': 'train', 'ts': 'test', 'te': 'test'}
# Other words of a split's name, as in dataset_train; and of other parts.
_COMMON = re.compile('(data|set|dataset|split|subset|part|image|img|file)s?')
_PARTS = set('query gallery probe support extra unlabeled unlabelled'.split())


def find_images(root: Path) -> list[Path]:
  """Finds the images below a folder: sorted paths, relative to it.

  Raises:
    ValueError: Some are of formats that are not read, or links lead nowhere or
      in a circle.
  """
  found, unread = [], []
  for path in _files(root, ()):
    suffix = path.suffix.lower()
    if suffix in _UNREAD:
      unread.append(path)
    elif suffix in _READ or (suffix not in _NO_IMAGE and _is_image(path)):
      if not path.is_file():
        raise ValueError(f'{path} is no file, or a link that leads nowhere')
      found.append(path.relative_to(root))
  if unread:
    raise ValueError(
      f'{len(unread)} images would be left out, since their format is not '
      f'read: {listed(sorted(unread))}; convert them to PNG or remove them'
    )
  return sorted(found)


def split_of(name: str) -> str | None:
  """'train', 'val' or 'test' for the usual names of these, in any case."""
  for split, names in _SPLITS.items():
    if re.fullmatch(f'({names})({_AFTER})?', name.lower()):
      return split
  return None


def splits_of(root: Path, images: Sequence[Path]) -> dict[str, str | None]:
  """Finds the splits of a folder, in which there are these images.

  Returns:
    {'train': 'Training', 'test': 'Testing'}: the sub-folder of each split; or
    {'train': None}, where there are no sub-folders of splits.

  Raises:
    ValueError: Some folders are named like splits, and images beside them would
      be left out or a split would become a class.
  """
  children = defaultdict(set)
  for folder in {file.parent for file in images}:
    for depth, name in enumerate(folder.parts):
      children[Path(*folder.parts[:depth])].add(name)
  for folder, names in sorted(children.items()):
    if folder.parts and len({_kind(n) for n in names} - {None}) > 1:
      raise ValueError(
        f'{root / folder} has folders named like splits '
        f'({", ".join(sorted(names))}), which would become one; they must be '
        'directly in the folder of the data set'
      )
  names = sorted(children[Path()])
  named = {name: kind for name in names if (kind := _kind(name))}
  exact = [name for name in names if split_of(name) or _is_common(name)]
  beside = [file for file in images if file.parts[0] not in named]
  distinct = len(set(named.values()))
  if distinct == len(named) and not beside and (exact or distinct > 1):
    order = sorted(named, key=lambda name: list(_SPLITS).index(named[name]))
    return {named[name]: name for name in order}
  # One folder called train among several others is a class, as of vehicles.
  others = {file.parts[0] for file in beside if len(file.parts) > 1}
  a_class = all(named[n] == 'train' for n in exact) and len(others) > 1
  plain = any(len(file.parts) == 1 for file in images)
  parts = any(_PARTS & set(_words(name)) for name in others)
  if (
    distinct > 1
    or (exact and (plain or not a_class))
    or (named and (parts or _alike(names)))
  ):
    reason = 'several for one split'
    if beside:
      reason = f'{len(beside)} images beside them: {listed(beside)}'
    raise ValueError(
      f'{root} has folders named like splits ({", ".join(named)}), and '
      f'{reason}. No image may be left out: name every folder after one split, '
      'or put the classes into a folder train'
    )
  return {'train': None}


def _kind(name: str) -> str | None:
  """The split that a folder's name has as one of its words."""
  words = _words(name)
  short = _SHORT if len(words) > 1 else {}
  kinds = {short.get(word) or split_of(word) for word in words} - {None}
  return kinds.pop() if len(kinds) == 1 else None


def _words(name: str) -> list[str]:
  """The words of a name such as imagesTr or dataset_train, in lower case."""
  words = re.findall('[A-Z]+(?![a-z])|[A-Z]?[a-z]+', name)
  return [word.lower() for word in words]


def _is_common(name: str) -> bool:
  """Tells whether a name has a split's word and else only common ones."""
  others = [w for w in _words(name) if not split_of(w)]
  return _kind(name) is not None and all(map(_COMMON.fullmatch, others))


def _alike(names: Sequence[str]) -> bool:
  """Tells whether names differ only in one word, which names a split."""
  words = list(map(_words, names))
  if len({len(x) for x in words}) > 1 or len(words[0]) < 2:
    return False
  differing = [x for x in map(set, zip(*words, strict=True)) if len(x) > 1]
  return len(differing) == 1 and any(map(split_of, differing[0]))


def _files(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
  """Yields what is below a folder and not hidden; links are followed."""
  real = os.path.realpath(folder)
  if real in above:
    raise ValueError(f'{folder} is a link to a folder that it lies in')
  for path in folder.iterdir():
    if path.name.startswith('.'):
      continue
    if path.is_dir():
      yield from _files(path, (*above, real))
    else:
      yield path


def _is_image(path: Path) -> bool:
  """Tells whether a file of another name begins like an image."""
  if not path.is_file():
    return False
  with path.open('rb') as file:
    return _MAGIC.match(file.read(16)) is not None
