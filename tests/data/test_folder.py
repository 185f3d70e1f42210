"""Folders of images: their layouts, their captions, what they refuse."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxdiff.data import epoch, load


def save(path, array, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(array).save(path, **options)


def test_folder_of_mixed_formats(tmp_path):
  rng = np.random.default_rng(0)
  rgb = rng.integers(256, size=(4, 6, 3), dtype=np.uint8)
  rgba = np.dstack([rgb, np.full((4, 6), 255, np.uint8)])
  rgba[:, 3:, 3] = 0
  save(tmp_path / 'b_rgb.png', rgb)
  save(tmp_path / 'deep/er/c_rgba.PNG', rgba)
  save(tmp_path / 'a_grey.png', rgb[..., 0])
  save(tmp_path / 'd.jpeg', np.full((4, 6, 3), 90, np.uint8), quality=95)
  save(tmp_path / '.hidden/e.png', rgb)
  (tmp_path / 'notes.txt').write_text('not an image')

  data = load(f'folder:{tmp_path}')
  assert len(data) == 4 and data.shape == (4, 6, 3)
  assert data.num_classes is None
  grey, colour, jpeg, clear = data.gather(np.arange(4))['x0']
  np.testing.assert_array_equal(grey, np.repeat(rgb[..., :1], 3, axis=2))
  np.testing.assert_array_equal(colour, rgb)
  np.testing.assert_allclose(jpeg, 90, atol=2)
  np.testing.assert_array_equal(clear[:, :3], rgb[:, :3])
  assert (clear[:, 3:] == 255).all()
  (batch,) = epoch(data, 4)
  assert batch['cond'] == {}


def test_folder_with_classes_and_splits(tmp_path):
  for split, kinds in (('train', 'ab'), ('test', 'bc')):
    for kind in kinds:
      level = np.full((3, 3), ord(kind), np.uint8)
      save(tmp_path / split / kind / 'x.png', level)
  train = load(f'folder:{tmp_path}')
  test = load(f'folder:{tmp_path}', 'test')
  assert train.num_classes == test.num_classes == 3
  assert train.shape == (3, 3, 1)  # All grey.
  for data in (train, test):
    read = data.gather(np.arange(2))
    np.testing.assert_array_equal(read['x0'][:, 0, 0, 0], read['label'] + 97)
  with pytest.raises(
    ValueError, match=r"\['train', 'test', 'all'\], got 'val'"
  ):
    load(f'folder:{tmp_path}', 'val')


def test_folder_resizes_the_centre(tmp_path):
  # Three square stripes: the centred square is the middle one. The filter
  # reaches two pixels of the result beyond its edge.
  wide = np.tile(np.repeat(np.array([0, 120, 255], np.uint8), 16), (16, 1))
  save(tmp_path / 'wide.png', wide)
  save(tmp_path / 'tall.png', wide.T)
  with pytest.raises(ValueError, match=r'48x16 \(.*tall.*16x48 \(.*wide'):
    load(f'folder:{tmp_path}')
  data = load(f'folder:{tmp_path}', image_size=8)
  assert data.shape == (8, 8, 1)
  tall, wide = data.gather(np.arange(2))['x0']
  np.testing.assert_array_equal(wide[:, 2:6], 120)
  np.testing.assert_array_equal(tall, wide.swapaxes(0, 1))


def test_halved_images_are_means_of_squares(tmp_path):
  # Halved three times, to 16 x 8, of which the middle is taken.
  shape = 64, 128
  noise = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
  save(tmp_path / 'x.png', noise)
  options = {'image_size': 8, 'downsampling': 'halved'}
  halved = load(f'folder:{tmp_path}', **options)
  (found,) = halved.gather(np.arange(1))['x0'][..., 0]
  means = noise[:, 32:96].reshape(8, 8, 8, 8).mean((1, 3))
  # Pillow rounds after rows and after columns, three times.
  assert np.abs(found - means).max() <= 3
  plain = load(f'folder:{tmp_path}', image_size=8)
  assert halved.digest() != plain.digest()
  # Less than twice too large: there is nothing to halve.
  options['image_size'] = 40
  same = load(f'folder:{tmp_path}', **options).gather(np.arange(1))['x0']
  plain = load(f'folder:{tmp_path}', image_size=40).gather(np.arange(1))['x0']
  np.testing.assert_array_equal(same, plain)
  with pytest.raises(ValueError, match='halved needs --data.image-size'):
    load(f'folder:{tmp_path}', downsampling='halved')


def test_folder_turns_photographs_upright(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 3  # Upside down.
  image = np.zeros((16, 16), np.uint8)
  image[:8] = 200
  save(tmp_path / 'x.jpg', image, exif=exif, quality=95)
  (upright,) = load(f'folder:{tmp_path}').gather(np.arange(1))['x0']
  np.testing.assert_allclose(upright[..., 0], image[::-1], atol=3)


@pytest.mark.parametrize('keep', [4, 500])
def test_broken_image_is_named(tmp_path, keep):
  noise = np.random.default_rng(0).integers(256, size=(32, 32, 3))
  save(tmp_path / 'good.png', noise.astype(np.uint8))
  whole = (tmp_path / 'good.png').read_bytes()
  (tmp_path / 'half.png').write_bytes(whole[:keep])
  with pytest.raises(ValueError, match=r'cannot read the image .*half\.png'):
    load(f'folder:{tmp_path}')


def test_deep_image_is_named(tmp_path):
  save(tmp_path / 'deep.png', np.zeros((4, 4), np.uint16))
  with pytest.raises(ValueError, match=r'deep\.png: it has more than 8 bits'):
    load(f'folder:{tmp_path}')


def test_missing_folder(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such folder'):
    load(f'folder:{tmp_path}/nowhere')
  with pytest.raises(FileNotFoundError, match='no image under'):
    load(f'folder:{tmp_path}')


def captioned(path, content, names=('a.png', 'b/c.png')):
  """A folder of images of one level each, and its captions.json."""
  for level, name in enumerate(names):
    save(path / name, np.full((3, 3), level, np.uint8))
  (path / 'captions.json').write_text(json.dumps(content))
  return f'folder:{path}'


@pytest.mark.parametrize(
  'content',
  [
    {'b/c.png': 'ein Hündchen', 'a.png': ''},
    [
      {'file': 'b/c.png', 'caption': 'ein Hündchen', 'group': 'pets'},
      {'file': 'a.png', 'caption': ''},
    ],
  ],
)
def test_folder_with_captions(tmp_path, content):
  for cache_bytes in (0, 1 << 20):
    data = load(captioned(tmp_path, content), cache_bytes=cache_bytes)
    assert data.has_captions
    read = data.gather(np.array([1, 0, 1]))
    assert read['caption'].tolist() == ['ein Hündchen', '', 'ein Hündchen']
    assert read['x0'][:, 0, 0, 0].tolist() == [1, 0, 1]


def test_long_captions_are_kept_whole(tmp_path):
  # In memory the set is filled chunk by chunk; the longest comes last.
  names = [f'{i:04d}.png' for i in range(30)]
  captions = {name: name * (1 + i) for i, name in enumerate(names)}
  data = load(captioned(tmp_path, captions, names))
  read = data.gather(np.arange(30))['caption'].tolist()
  assert read == list(captions.values())


def test_folder_with_captions_and_splits(tmp_path):
  names = ('train/x/a.png', 'train/y/b.png', 'test/x/a.png')
  everything = {name: f'of {name}' for name in names}
  name = captioned(tmp_path, everything, names)
  for split, size in (('train', 2), ('test', 1)):
    data = load(name, split)
    read = data.gather(np.arange(size))
    assert [f'of {split}/{f}' for f in ('x/a.png', 'y/b.png')][:size] == read[
      'caption'
    ].tolist()
    assert read['label'].tolist() == [0, 1][:size]
  # A split's own captions come before those of the whole folder.
  (tmp_path / 'test/captions.json').write_text('{"x/a.png": "mine"}')
  assert load(name, 'test').gather(np.arange(1))['caption'] == ['mine']


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ({'a.png': 'one'}, r'no caption in .*captions\.json of .*b/c\.png$'),
    (
      {'a.png': '1', 'b/c.png': '2', 'd.png': '3'},
      r'captions of no image: .*d\.png$',
    ),
    ({'a.png': '1', 'b/c.png': 2}, r"strings, got 'b/c\.png': 2"),
    ([{'file': 'a.png'}], 'must hold'),
    ('a.png', 'must hold'),
    ([{'file': 'a.png', 'caption': 'x'}] * 2, r'two captions of a\.png'),
  ],
)
def test_captions_that_do_not_fit_are_named(tmp_path, content, message):
  with pytest.raises(ValueError, match=message):
    load(captioned(tmp_path, content))


def test_broken_captions_are_named(tmp_path):
  name = captioned(tmp_path, {})
  (tmp_path / 'captions.json').write_text('{"a.png": ')
  with pytest.raises(ValueError, match=r'cannot read the captions .*json'):
    load(name)
  text = '{"a.png": "one", "a.png": "two"}'
  (tmp_path / 'captions.json').write_text(text)
  with pytest.raises(ValueError, match=r'captions .*a\.png is there twice'):
    load(f'folder:{tmp_path}')
  text = '{"a.png": "one \\ud83d", "b/c.png": "two"}'
  (tmp_path / 'captions.json').write_text(text)
  with pytest.raises(ValueError, match=r'captions\.json has half a character'):
    load(f'folder:{tmp_path}')


@pytest.mark.parametrize('mark', [b'', b'\xef\xbb\xbf'])
def test_captions_are_utf_8(tmp_path, mark):
  name = captioned(tmp_path, {})
  text = json.dumps({'a.png': 'Hündchen', 'b/c.png': ''}, ensure_ascii=False)
  (tmp_path / 'captions.json').write_bytes(mark + text.encode())
  assert load(name).gather(np.arange(1))['caption'] == ['Hündchen']
  (tmp_path / 'captions.json').write_bytes(text.encode('latin-1'))
  with pytest.raises(ValueError, match=r'captions\.json line 1 is not UTF-8'):
    load(name)


def test_of_many_images_without_captions_some_are_named(tmp_path):
  names = [f'{i}.png' for i in range(8)]
  with pytest.raises(ValueError, match=r'0\.png, .*4\.png and 3 more$'):
    load(captioned(tmp_path, {}, names))
