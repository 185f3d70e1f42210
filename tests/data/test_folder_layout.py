"""Folders of images: every image is used, or the folder is refused."""

import os

import numpy as np
import pytest
from PIL import Image

from jaxdiff.data import load

ANIMALS = ('airplane', 'car', 'train')


def make(root, *files, num=4):
  """Grey images of one level each; 'cat/' stands for several."""
  level = 0
  for name in files:
    names = (
      [f'{name}{i}.png' for i in range(num)] if name[-1] == '/' else [name]
    )
    for file in names:
      path = root / file
      path.parent.mkdir(parents=True, exist_ok=True)
      known = path.suffix.lower() in Image.registered_extensions()
      image = Image.fromarray(np.full((3, 3), level, np.uint8))
      image.save(path, None if known else 'PNG')
      level += 1
  return f'folder:{root}'


@pytest.mark.parametrize(
  ('folders', 'classes'),
  [
    (ANIMALS, ANIMALS),
    (('train/airplane', 'train/car', 'train/train'), ANIMALS),
    (('bullet_train', 'car', 'tank'), ('bullet_train', 'car', 'tank')),
    (('bullet_train', 'bus'), ('bullet_train', 'bus')),
    (
      ('bus_station', 'park', 'train_station'),
      ('bus_station', 'park', 'train_station'),
    ),
    (('Cat', 'dog/a', 'dog/b'), ('Cat', 'dog')),
    (('only',), ()),
  ],
)
def test_every_image_has_its_class(tmp_path, folders, classes):
  data = load(make(tmp_path, *(f'{folder}/' for folder in folders)))
  assert len(data) == 4 * len(folders)
  assert data.class_names == classes and data.splits == ('train',)
  assert (data.num_classes or 0) == len(classes)
  if classes:
    labels = data.gather(np.arange(len(data)))['label']
    assert set(labels.tolist()) == set(range(len(classes)))


@pytest.mark.parametrize(
  ('names', 'splits'),
  [
    (('training', 'testing'), ('train', 'test')),
    (('Train', 'Test'), ('train', 'test')),
    (('TRAIN', 'VAL', 'TEST'), ('train', 'val', 'test')),
    (('train', 'valid', 'tst'), ('train', 'val', 'test')),
    (('train', 'validation'), ('train', 'val')),
    (('train2017', 'val2017'), ('train', 'val')),
    (('seg_train', 'seg_test'), ('train', 'test')),
    (('trainSet', 'testSet'), ('train', 'test')),
    (('training_set', 'test_set'), ('train', 'test')),
    (('trainset', 'testset'), ('train', 'test')),
    (('imagesTr', 'imagesTs'), ('train', 'test')),
    (('dataset_train',), ('train',)),
    (('test',), ('test',)),
  ],
)
def test_splits_by_other_names(tmp_path, names, splits):
  name = make(tmp_path, *(f'{n}/{c}/' for n in names for c in ('a', 'b')))
  for i, split in enumerate(splits):
    data = load(name, split)
    assert data.splits == splits and data.class_names == ('a', 'b')
    assert data.split == split and len(data) == 8
    levels = data.gather(np.arange(8))['x0'][:, 0, 0, 0]
    assert levels.tolist() == list(range(8 * i, 8 * i + 8))
  everything = load(name, 'all')
  assert len(everything) == 8 * len(names) and everything.num_classes == 2
  if splits[-1] == 'test':
    assert load(name, 'Testing').split == 'test'
  assert 'splits: ' + ', '.join(splits) in data.summary()


@pytest.mark.parametrize(
  'files',
  [
    ('train/', 'beside.png'),
    ('train/cat/', 'test/cat/', 'extra/cat/'),
    ('train/', 'val/', 'beside.png'),
    ('train/', 'extra/'),
    ('dataset_train/', 'dataset_query/'),
    ('faces_train/', 'faces_hidden/'),
    ('train/', 'query/', 'gallery/'),
    ('my_train/', 'gt_query/', 'other/'),
    ('cat/', 'dog/', 'test/'),
    ('cat/', 'dog/', 'Validation/'),
    ('train2017/', 'val2017/', 'unlabeled2017/'),
    ('trainA/', 'trainB/', 'testA/', 'testB/'),
    ('train/', 'val/', 'validation/'),
    ('Train/', 'training/'),
    ('cat/train/', 'cat/test/', 'dog/train/', 'dog/test/'),
    ('data/train/', 'data/test/'),
    ('train/data/train/', 'train/data/val/'),
  ],
)
def test_unclear_folders_are_refused(tmp_path, files):
  with pytest.raises(ValueError, match='folders named like splits') as raised:
    load(make(tmp_path, *files))
  assert '\n' not in str(raised.value)


def test_what_would_be_left_out_is_named(tmp_path):
  with pytest.raises(ValueError, match=r'8 images beside.*extra/0.png.*3 more'):
    load(make(tmp_path, 'train/', 'test/', 'extra/a/', 'extra/'))


@pytest.mark.parametrize(
  'ending', 'webp bmp gif tif tiff TIF jpg JPEG jfif ppm WebP'.split()
)
def test_classes_of_every_format(tmp_path, ending):
  files = ('a/0.png', f'b/0.{ending}', f'b/1.{ending}', 'c/0.png')
  data = load(make(tmp_path, *files))
  arrays = data.gather(np.arange(4))
  assert arrays['label'].tolist() == [0, 1, 1, 2]
  np.testing.assert_allclose(arrays['x0'][:, 0, 0, 0], range(4), atol=2)


def test_images_by_any_name(tmp_path):
  # As the web and old cameras name them; other files are no images.
  name = make(tmp_path, '0', '1.jpg?size=large', '2.png', '3.PNG_large')
  (tmp_path / 'notes.txt').write_text('text')
  (tmp_path / 'Thumbs.db').write_bytes(b'\0' * 40)
  levels = load(name).gather(np.arange(4))['x0'][:, 0, 0, 0]
  assert levels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('ending', ['avif', 'HEIC', 'jp2', 'tga', 'svg'])
def test_formats_that_are_not_read_are_named(tmp_path, ending):
  name = make(tmp_path, 'a/0.png', 'c/0.png')
  (tmp_path / 'b').mkdir()
  (tmp_path / f'b/0.{ending}').write_bytes(b'anything')
  message = rf'1 images would be left out.*b/0\.{ending}; convert'
  with pytest.raises(ValueError, match=message):
    load(name)


def test_links_are_followed(tmp_path):
  make(tmp_path / 'elsewhere', 'dogs/')
  name = make(tmp_path / 'set', 'cat/', 'eel/')
  (tmp_path / 'set/dog').symlink_to(tmp_path / 'elsewhere/dogs')
  (tmp_path / 'set/eel/link.png').symlink_to(tmp_path / 'elsewhere/dogs/0.png')
  data = load(name)
  assert len(data) == 13 and data.class_names == ('cat', 'dog', 'eel')
  labels = data.gather(np.arange(13))['label']
  assert np.bincount(labels).tolist() == [4, 4, 5]


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path):
  name = make(tmp_path, 'cat/', 'dog/')
  (tmp_path / 'cat/lost.png').symlink_to(tmp_path / 'nothing.png')
  with pytest.raises(ValueError, match=r'lost\.png .*leads nowhere'):
    load(name)
  os.unlink(tmp_path / 'cat/lost.png')
  (tmp_path / 'cat/again').symlink_to(tmp_path)
  with pytest.raises(ValueError, match='a link to a folder that it lies in'):
    load(name)


def test_the_digest_is_of_the_data_and_not_of_the_path(tmp_path):
  files = ('train/cat/', 'train/dog/', 'test/cat/', 'test/dog/')
  first = make(tmp_path / 'one', *files)
  digest, digests = load(first).digest(), load(first).identity
  assert load(first, 'test').digest() == digest
  second = make(tmp_path / 'two', *files)
  assert load(second).digest() == digest
  # A class by another name, another image, an image more.
  for split in ('train', 'test'):
    os.rename(tmp_path / f'two/{split}/cat', tmp_path / f'two/{split}/zebra')
  other = load(second)
  assert other.digest() != digest and other.class_names == ('dog', 'zebra')
  assert other.identity['train file names'] != digests['train file names']
  make(tmp_path / 'one', 'test/dog/2.png')
  changed = load(first).digest()
  assert changed != digest
  make(tmp_path / 'one', 'test/dog/9.png')
  assert load(first).digest() not in (digest, changed)


def test_summary(tmp_path):
  name = make(tmp_path, 'train/cat/', 'train/dog/', 'val/cat/')
  assert load(name).summary() == (
    f'{name} train: 8 images of 3x3x1, 2 classes (cat, dog); splits: train, val'
  )
