"""Images to measure: a folder, a file, a data set, and what is refused."""

import types

import numpy as np
import pytest
import tiny
from PIL import Image

from jaxdiff import data
from jaxdiff.data import Dataset
from jaxdiff.evaluation import images, measuring
from jaxdiff.evaluation.flags import Against
from jaxdiff.evaluation.images import Source


def pixels(num=7, size=4, channels=3):
  shape = (num, size, size, channels)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def read(path):
  return images.parse(str(path)).load()


def everything(dataset, batch_size=3):
  batches = list(images.batches(dataset, batch_size, 0, len(dataset)))
  assert all(b.dtype == np.uint8 for b in batches)
  assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
  return np.concatenate(batches)


def write_folder(path, x):
  path.mkdir(parents=True)
  for i, image in enumerate(x):
    image = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(image).save(path / f'{i:03d}.png')
  (path / 'metadata.json').write_text('{}')
  return path


@pytest.mark.parametrize('channels', [1, 3])
def test_one_set_of_images_wherever_it_is(tmp_path, channels):
  x = pixels(channels=channels)
  np.savez(tmp_path / 'plain.npz', arr_0=x, arr_1=np.arange(7))
  np.savez_compressed(tmp_path / 'small.npz', arr_0=x)
  gather = lambda indices: {'x0': x[indices]}
  sources = [
    Dataset('set', 'test', 'image', 7, x.shape[1:], None, gather),
    read(tmp_path / 'plain.npz'),
    read(tmp_path / 'small.npz'),
    read(write_folder(tmp_path / 'folder', x)),
  ]
  assert images.title(sources[0]) == 'set test'
  assert images.title(sources[1]) == str(tmp_path / 'plain.npz')
  assert images.title(sources[3]) == str(tmp_path / 'folder')
  for source in sources:
    assert len(source) == 7 and source.shape == x.shape[1:]
    np.testing.assert_array_equal(everything(source), x)
    (part,) = images.batches(source, 9, 2, 5)
    np.testing.assert_array_equal(part, x[2:5])
  assert len({images.digest(source) for source in sources}) == 1
  assert images.digest(sources[0], 2) == images.digest(sources[1], 100)


def test_the_digest_sees_every_pixel_the_order_and_the_shape(tmp_path):
  x = pixels()
  other = x.copy()
  other[-1, -1, -1, -1] ^= 1
  variants = [x, other, x[::-1], x[:-1], x.reshape(7, 2, 8, 3)]
  digests = set()
  for variant in variants:
    np.savez(tmp_path / 'x.npz', arr_0=np.ascontiguousarray(variant))
    digests.add(images.digest(read(tmp_path / 'x.npz')))
  assert len(digests) == len(variants)


def test_all_images_of_a_folder_with_splits(tmp_path):
  for split in ('train', 'val'):
    write_folder(tmp_path / 'set' / split, pixels())
  assert len(read(tmp_path / 'set')) == 14
  assert len(images.parse(f'folder:{tmp_path / "set"}:val').load()) == 7
  # --image-size resizes them.
  source = images.parse(str(tmp_path / 'set'))._replace(image_size=2)
  assert source.load().shape == (2, 2, 3)


def test_a_subset_is_not_the_first():
  chosen = data.spread(1000, 10)
  assert (np.diff(chosen) > 0).all() and chosen[-1] > 800
  few = data.subset(data.load('digits'), 10)
  expected = data.load('digits').gather(data.spread(1497, 10))
  np.testing.assert_array_equal(everything(few), expected['x0'])


@pytest.mark.parametrize(
  ('source', 'expected'),
  [
    ('digits', Source('digits', 'train')),
    ('captioned_shapes:test', Source('captioned_shapes', 'test')),
    ('tfds:cifar10', Source('tfds:cifar10', 'train')),
    ('tfds:mnist:3.0.1', Source('tfds:mnist:3.0.1', 'train')),
    ('tfds:mnist:3.0.1:test', Source('tfds:mnist:3.0.1', 'test')),
    ('folder:a/b:test', Source('folder:a/b', 'test')),
    ('folder:C:b', Source('folder:C:b', 'train')),
    ('x/y.npz', Source('npz:x/y.npz', 'all')),
  ],
)
def test_names_of_data(source, expected):
  assert images.parse(source) == expected


@pytest.mark.parametrize('kind', ['lines', 'text', 'smiles'])
def test_files_of_text_have_no_images(kind):
  with pytest.raises(ValueError, match=f'{kind}:a.txt has no images'):
    images.parse(f'{kind}:a.txt')


def test_images_that_are_refused(tmp_path):
  folder = write_folder(tmp_path / 'folder', pixels())
  Image.fromarray(pixels(1, 6)[0]).save(folder / '100.png')
  with pytest.raises(ValueError, match='one size'):
    read(folder)
  for missing in ('nowhere', 'nowhere.npz'):
    with pytest.raises(FileNotFoundError, match='nowhere'):
      read(tmp_path / missing)
  (tmp_path / 'empty').mkdir()
  with pytest.raises(FileNotFoundError, match='no image'):
    read(tmp_path / 'empty')
  path = tmp_path / 'x.npz'
  for arrays in (
    {'arr_0': pixels().astype(np.float32)},
    {'arr_0': pixels()[0]},
    {'arr_0': pixels()[:0]},
    {'mu': np.zeros(3)},
  ):
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match='arr_0'):
      read(path)
  np.savez(path, arr_0=pixels())
  whole = bytearray(path.read_bytes())
  whole[300] ^= 1
  path.write_bytes(whole)
  with pytest.raises(ValueError, match='arr_0.*CRC'):
    read(path)
  path.write_bytes(b'nothing of the kind')
  with pytest.raises(ValueError, match='arr_0'):
    read(path)
  with pytest.raises(ValueError, match='image-size'):
    Source(f'npz:{path}', 'all', image_size=6).load()


@pytest.mark.parametrize(('size', 'filter'), [(None, 'halved'), (5, 'bicubic')])
def test_the_reference_of_a_run_is_made_smaller_as_in_training(size, filter):
  settings = {'image_size': 8, 'downsampling': 'halved'}
  config = tiny.changed(tiny.config, data={'name': 'folder:x', **settings})
  run = types.SimpleNamespace(config=config)
  source = measuring._source(Against(image_size=size), run)
  assert source.image_size == (size or 8) and source.downsampling == filter
  other = measuring._source(Against(reference='digits:test'), run)
  assert other.downsampling == 'bicubic'


def test_a_source_is_loaded_with_its_filter(tmp_path):
  write_folder(tmp_path / 'set', pixels(size=32))
  source = images.parse(str(tmp_path / 'set'))._replace(image_size=8)
  plain, halved = source, source._replace(downsampling='halved')
  x, y = (everything(source.load()) for source in (plain, halved))
  assert x.shape == y.shape and np.any(x != y)
