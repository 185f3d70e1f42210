"""Sets prepared by TFDS: read by index and from memory, and what is refused."""

import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxdiff.data import load
from jaxdiff.data.__main__ import prepare

NUM = 30
READ = """
import sys
import jaxdiff.data
early = set(sys.modules)
images = jaxdiff.data.load('tfds:squares/grey', data_dir=sys.argv[1])
images.gather(range(4))
assert not {'tensorflow', 'torch'} & set(sys.modules)
assert not {'tensorflow_datasets', 'sklearn', 'networkx'} & early
"""


def pixels(i):
  return np.full((6, 8), i, np.uint8)


class Squares(tfds.core.GeneratorBasedBuilder):
  """Images of one level each, with labels and captions."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=name) for name in ('grey', 'any_size')
  ]

  def _info(self):
    shape = (6, 8, 1) if self.builder_config.name == 'grey' else (None, None, 3)
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          'picture': tfds.features.Image(shape=shape, encoding_format='png'),
          'label': tfds.features.ClassLabel(names=['even', 'odd']),
          'caption': tfds.features.Text(),
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for i in range(NUM):
      png = io.BytesIO()
      Image.fromarray(pixels(i)).save(png, 'PNG')
      yield (
        i,
        {'picture': png.getvalue(), 'label': i % 2, 'caption': f'level {i}'},
      )


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  tfds.disable_progress_bar()
  data_dir = tmp_path_factory.mktemp('data')
  for config in ('grey', 'any_size'):
    builder = Squares(data_dir=str(data_dir), config=config)
    builder.download_and_prepare(file_format='array_record')
  return data_dir


@pytest.mark.parametrize('cache_bytes', [0, None])
def test_images_labels_and_captions(data_dir, cache_bytes):
  data = load('tfds:squares/grey', data_dir=data_dir, cache_bytes=cache_bytes)
  assert data.name == 'tfds:squares/grey' and data.modality == 'image'
  assert len(data) == NUM and data.shape == (6, 8, 1)
  assert data.num_classes == 2 and data.has_captions
  read = data.gather(np.array([5, 29, 5, 0]))
  np.testing.assert_array_equal(read['x0'][:, 3, 3, 0], [5, 29, 5, 0])
  assert read['x0'].dtype == np.uint8
  assert read['label'].tolist() == [1, 1, 1, 0]
  assert read['caption'].tolist() == [f'level {i}' for i in (5, 29, 5, 0)]


def test_slices_and_sizes(data_dir):
  part = load('tfds:squares/any_size:1.0.0', 'train[:8]', 4, data_dir=data_dir)
  assert len(part) == 8 and part.shape == (4, 4, 3)
  with pytest.raises(ValueError, match='differ in size; give an image_size'):
    load('tfds:squares/any_size', data_dir=data_dir)
  with pytest.raises(ValueError, match=r"\['train'\], got 'test'"):
    load('tfds:squares/grey', 'test', data_dir=data_dir)


def test_a_config_must_be_named(data_dir):
  message = r"'squares'.*name one of .*'tfds:squares/grey'"
  with pytest.raises(ValueError, match=message):
    load('tfds:squares', data_dir=data_dir)


@pytest.mark.parametrize(
  ('option', 'flag'),
  [({'length': 8}, 'length'), ({'tokenizer': 'a.json'}, 'tokenizer')],
)
def test_images_take_no_options_of_text(data_dir, option, flag):
  with pytest.raises(ValueError, match=f'takes .*got --data.{flag}'):
    load('tfds:squares/grey', data_dir=data_dir, **option)


def test_imports_stay_light(data_dir):
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  command = [sys.executable, '-c', READ, str(data_dir)]
  subprocess.run(command, env=environment, check=True, timeout=120)


def test_an_unprepared_set_names_its_command(tmp_path):
  with pytest.raises(FileNotFoundError) as raised:
    load('tfds:fashion_mnist', data_dir=tmp_path)
  command = 'python -m jaxdiff.data prepare tfds:fashion_mnist --data-dir '
  assert str(raised.value).endswith(command + str(tmp_path))


def test_prepare_command(data_dir, tmp_path, monkeypatch, capsys):
  prepare('tfds:squares/grey', data_dir=data_dir)
  assert str(data_dir / 'squares/grey') in capsys.readouterr().out
  for name in ('digits', 'folder:pictures', 'planar'):
    prepare(name)
    assert capsys.readouterr().out == f'{name} needs no preparing\n'
    with pytest.raises(SystemExit, match='takes neither --manual-dir nor'):
      prepare(name, manual_dir=tmp_path)
  with pytest.raises(SystemExit, match="must be 'tfds:NAME', got 'digit'"):
    prepare('digit')
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(SystemExit, match=r'jaxdiff\[tf\]'):
    prepare('tfds:fashion_mnist', data_dir=tmp_path)


@pytest.fixture
def copy(data_dir, tmp_path):
  """A copy of the set, to be damaged: its directory and its folder."""
  shutil.copytree(data_dir / 'squares/grey', tmp_path / 'squares/grey')
  return tmp_path, tmp_path / 'squares/grey/1.0.0'


RECORDS = 'squares-train.array_record-00000-of-00001'


@pytest.mark.parametrize(
  ('file', 'damage'),
  [
    ('dataset_info.json', lambda text: text[:90]),
    ('dataset_info.json', lambda text: text.replace(b'"30"', b'"29"')),
    ('dataset_info.json', lambda text: text.replace(b'"30"', b'"many"')),
    ('dataset_info.json', lambda text: text.replace(b'"1.0.0"', b'[7]')),
    ('dataset_info.json', lambda text: b'[]'),
    ('features.json', lambda text: b''),
    ('features.json', lambda text: b'\xff' + text),
    ('features.json', lambda text: text.replace(b'"uint8"', b'"uint99"')),
    ('features.json', lambda text: text.replace(b'"caption"', b'"captiom"')),
    (RECORDS, lambda raw: b''),
    (RECORDS, lambda raw: raw[: len(raw) // 2]),
    (RECORDS, lambda raw: raw[:200] + bytes(300) + raw[500:]),
    (RECORDS, lambda raw: raw.replace(b'level 7', b'level \xff')),
    (RECORDS, None),
    ('label.labels.txt', lambda text: b'even'),
  ],
)
def test_damage_is_named_with_its_cure(copy, file, damage):
  data_dir, folder = copy
  if damage:
    (folder / file).write_bytes(damage((folder / file).read_bytes()))
  else:
    (folder / file).unlink()
  with pytest.raises(ValueError) as raised:
    load('tfds:squares/grey', data_dir=data_dir)
  message = str(raised.value)
  assert str(folder) in message and ' is damaged: ' in message
  assert file in message
  assert message.endswith('delete the folder and prepare it again')
  assert '\n' not in message


@pytest.mark.parametrize(
  'code',
  [
    {'pythonClassName': 'evil.Feature'},
    {'python_class_name': 'evil.Feature'},
    {'type': 'evil.Feature', 'content': {}},
    {
      'type': 'tensorflow_datasets.core.features.text_feature.Text',
      'content': '',
      'proto_cls': 'evil.Feature',
    },
    {'pythonClassName': 'tensorflow_datasets_evil.Feature'},
  ],
)
def test_a_set_runs_no_code_beside_it(copy, code, monkeypatch):
  data_dir, folder = copy
  started = data_dir / 'started'
  for module in ('evil', 'tensorflow_datasets_evil'):
    (data_dir / f'{module}.py').write_text(f'open({str(started)!r}, "w")')
  monkeypatch.syspath_prepend(data_dir)
  described = json.loads((folder / 'features.json').read_text())
  described['featuresDict']['features']['caption'] = code
  (folder / 'features.json').write_text(json.dumps(described))
  message = r'features\.json names code outside .*evil\.Feature$'
  with pytest.raises(ValueError, match=message):
    load('tfds:squares/grey', data_dir=data_dir)
  assert not started.exists()


def test_the_digest_is_of_the_records(data_dir, copy):
  grey = load('tfds:squares/grey', data_dir=data_dir)
  assert grey.class_names == ('even', 'odd') and grey.splits == ('train',)
  again = load('tfds:squares/grey', 'train[:7]', data_dir=copy[0])
  assert again.digest() == grey.digest()
  other = load('tfds:squares/any_size', 'train', 8, data_dir=data_dir)
  assert other.digest() == grey.digest()  # The same pixels.
  (copy[1] / 'label.labels.txt').write_text('odd\neven\n')
  turned = load('tfds:squares/grey', data_dir=copy[0])
  assert turned.digest() != grey.digest()


def test_records_that_are_no_images(tmp_path, monkeypatch):
  postscript = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n'
  monkeypatch.setattr(Image.Image, 'save', lambda _, f, *a: f.write(postscript))
  builder = Squares(data_dir=str(tmp_path), config='grey')
  builder.download_and_prepare(file_format='array_record')
  message = r'image \d+ of tfds:squares/grey/1.0.0 train, .*00001: it is '
  with pytest.raises(ValueError, match=message):
    load('tfds:squares/grey', data_dir=tmp_path)
