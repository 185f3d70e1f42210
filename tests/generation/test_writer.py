"""Samples on disk: one job continues, two are never mixed, nothing is lost."""

import dataclasses
import json
import os

import numpy as np
import pytest
import tiny
from PIL import Image

from jaxdiff import modalities
from jaxdiff.config import Sampling
from jaxdiff.generation import writer
from jaxdiff.generation.flags import SamplerFlags, Weights, of_network

IMAGES = modalities.make(tiny.SPEC)
METADATA = {'params_sha256': 'a', 'seed': 0, 'workdir': 'runs/a'}


def draw(index):
  return [np.full((8, 8, 1), i, np.uint8) for i in index]


def write(out, num=3, draw=draw, **metadata):
  metadata = {**METADATA, **metadata}
  return writer.write(out, num, draw, metadata, IMAGES, batch_size=2)


def names(folder):
  return sorted(os.listdir(folder))


def fail(index):
  raise ValueError('nan')


def test_every_flag_on_which_samples_depend_is_in_the_metadata():
  of = lambda kind: {field.name for field in dataclasses.fields(kind)}
  # The weights, merged with a LoRA, and the guides are known by their hash.
  weights = of(Weights) | {'lora', 'lora_scale', 'guide', 'classifier'}
  rest = of(SamplerFlags) - of(Sampling) - weights
  values = {'dtype': 'bfloat16', 'size': 64, 'sizes': (1,) * 6}
  values['prediction'] = 'v'
  assert rest == set(values)
  assert of_network(SamplerFlags(**values)) == values


@pytest.mark.parametrize('out', ['new/deep/x', 'new/deep/x.npz', 'here'])
def test_nothing_is_left_where_nothing_was_drawn(out, tmp_path):
  (tmp_path / 'here').mkdir()
  with pytest.raises(ValueError, match='nan'):
    write(tmp_path / out, draw=fail)
  assert names(tmp_path) == ['here'] and names(tmp_path / 'here') == []


def test_what_was_drawn_stays(tmp_path):
  parts = lambda index: draw(index) if 0 in index else fail(index)
  with pytest.raises(ValueError, match='nan'):
    write(tmp_path / 'x.npz', draw=parts)
  there = names(tmp_path / 'x.npz.parts')
  assert there == ['000000.png', '000001.png', 'metadata.json']
  write(tmp_path / 'x.npz')
  assert names(tmp_path) == ['x.npz', 'x.npz.json']
  x = np.load(tmp_path / 'x.npz')['arr_0']
  np.testing.assert_array_equal(x[:, 0, 0, 0], [0, 1, 2])


def test_other_weights_are_another_job_and_another_path_is_not(tmp_path):
  write(tmp_path)
  write(tmp_path, draw=fail, workdir='/elsewhere/a')
  with pytest.raises(ValueError, match="another job .params_sha256: 'a' there"):
    write(tmp_path, params_sha256='b')
  with pytest.raises(ValueError, match='holds 3 images, and 2 were asked for'):
    write(tmp_path, num=2)


@pytest.mark.parametrize('content', ['[1]', '{"title": "mine"}'])
def test_metadata_of_somebody_else_is_not_replaced(content, tmp_path):
  path = tmp_path / 'metadata.json'
  path.write_text(content)
  with pytest.raises(ValueError, match='metadata.json is not from a job'):
    write(tmp_path)
  assert path.read_text() == content and names(tmp_path) == ['metadata.json']


@pytest.mark.parametrize('name', ['cat.png', '2.png', '0000002.png'])
def test_images_of_somebody_else_are_no_samples(name, tmp_path):
  write(tmp_path)
  (tmp_path / '000002.png').rename(tmp_path / name)
  with pytest.raises(ValueError, match=f'holds {name}, which is not from'):
    write(tmp_path)
  (tmp_path / 'metadata.json').unlink()
  with pytest.raises(ValueError, match='no metadata.json'):
    write(tmp_path)


def test_links_are_followed_and_nothing_but_files_replaced(tmp_path):
  (tmp_path / 'link.png').symlink_to('target.png')
  write(tmp_path / 'link.png')
  assert (tmp_path / 'link.png').is_symlink()
  assert Image.open(tmp_path / 'target.png').size[0] > 8
  os.mkfifo(tmp_path / 'pipe.png')
  (tmp_path / 'dir.png').mkdir()
  (tmp_path / 'a.png.json').mkdir()
  (tmp_path / 'file').write_text('')
  for name, reason in {
    'pipe.png': 'no regular file',
    'dir.png': 'is a folder',
    'a.png': 'a.png.json is a folder',
    'file': 'is a file: give a folder',
    'file/x.png': 'file is no folder',
    'x.gif': 'must end in .png or .npz',
  }.items():
    with pytest.raises((ValueError, OSError), match=reason):
      write(tmp_path / name, draw=fail)


def test_a_file_system_that_says_no_is_one_line(tmp_path, monkeypatch):
  def full(sample, path):
    raise OSError(28, 'No space left on device')

  images = IMAGES._replace(save=full)
  with pytest.raises(OSError, match='No space .* stay') as raised:
    writer.write(tmp_path / 'x', 2, draw, METADATA, images, batch_size=2)
  assert raised.value.errno == 28
  assert names(tmp_path) == []
  monkeypatch.setattr(os, 'access', lambda path, mode: False)
  with pytest.raises(PermissionError, match='cannot be written'):
    writer.check_output(tmp_path / 'x.png', IMAGES)


def test_a_damaged_sample_is_named_and_an_empty_one_drawn_again(tmp_path):
  parts = lambda index: draw(index) if 0 in index else fail(index)
  for content in (b'', b'\x89PNG'):
    with pytest.raises(ValueError, match='nan'):
      write(tmp_path / 'x.npz', draw=parts)
    sample = tmp_path / 'x.npz.parts' / '000001.png'
    sample.write_bytes(content)
    if content:
      with pytest.raises(ValueError, match='000001.png is damaged: delete it'):
        write(tmp_path / 'x.npz')
      sample.unlink()
    write(tmp_path / 'x.npz')
    assert np.load(tmp_path / 'x.npz')['arr_0'][1, 0, 0, 0] == 1


def test_samples_of_a_batch_are_never_a_multiple_of_its_size_apart(tmp_path):
  write(tmp_path / 'x', num=9)
  for i in (1, 3, 4, 8):
    (tmp_path / 'x' / f'{i:06}.png').unlink()
  batches = []
  note = lambda index: batches.append(list(index)) or draw(index)
  write(tmp_path / 'x', num=9, draw=note)
  assert batches == [[1, 1], [3, 3], [4, 4], [8, 8]]
  write(tmp_path / 'y', num=5, draw=note)
  assert batches[4:] == [[0, 1], [2, 3], [4, 4]]


def test_a_file_is_known_by_what_is_beside_it(tmp_path):
  out = tmp_path / 'x.npz'
  assert not writer.is_written(out, METADATA)
  write(out)
  assert writer.is_written(out, METADATA)
  assert not writer.is_written(out, {**METADATA, 'seed': 1})
  assert json.loads((tmp_path / 'x.npz.json').read_text()) == METADATA


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
  (tmp_path / 'x.npz').write_bytes(b'mine')
  with pytest.raises(ValueError, match='x.npz is there and no x.npz.json'):
    write(tmp_path / 'x.npz', draw=fail)
  (tmp_path / 'x.npz.json').write_text('{"mine": 1}')
  with pytest.raises(ValueError, match='x.npz.json is not from a job'):
    write(tmp_path / 'x.npz', draw=fail)
  assert (tmp_path / 'x.npz').read_bytes() == b'mine'
  assert names(tmp_path) == ['x.npz', 'x.npz.json']
