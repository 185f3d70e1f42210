"""Shards of weights that are links: within the folder, in the Hub's cache, or
out of it."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxdiff.pretrained import folders


def shards(folder, name='a.safetensors'):
  folder.mkdir(parents=True)
  index = folder / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': {'x': name}}))
  return index


def test_links_out_of_the_folder_are_refused(tmp_path):
  secret = tmp_path / 'secret.safetensors'
  save_file({'x': np.ones(2)}, secret)
  index = shards(tmp_path / 'net')
  link = index.parent / 'a.safetensors'
  for target in (secret, '../secret.safetensors'):
    link.symlink_to(target)
    with pytest.raises(ValueError, match='is a link to a file outside'):
      folders.read_state(index, '')
    link.unlink()
  # Over a folder that only has the name of the cache's.
  blobs = tmp_path / 'blobs'
  blobs.mkdir()
  secret.rename(blobs / 'b')
  link.symlink_to(blobs / 'b')
  with pytest.raises(ValueError, match='is a link to a file outside'):
    folders.read_state(index, '')
  (tmp_path / 'same').symlink_to(index.parent)
  link.unlink()
  save_file({'x': np.ones(2)}, index.parent / 'b.safetensors')
  link.symlink_to('b.safetensors')
  for folder in ('net', 'same'):  # a folder may itself be a link
    state, _ = folders.read_state(tmp_path / folder / index.name, '')
    np.testing.assert_array_equal(state['x'], np.ones(2))


@pytest.mark.parametrize('part', ['', 'vae'])
def test_the_cache_of_the_hub_is_links(part, tmp_path):
  root = tmp_path / 'models--lab--net'
  index = shards(root / 'snapshots' / ('0' * 40) / part)
  (root / 'blobs').mkdir()
  save_file({'x': np.ones(2)}, root / 'blobs' / 'abc')
  (index.parent / 'a.safetensors').symlink_to(root / 'blobs' / 'abc')
  state, _ = folders.read_state(index, '')
  np.testing.assert_array_equal(state['x'], np.ones(2))


@pytest.mark.parametrize(
  'name', ['../a', '/etc/passwd', '..', '.', '', 'a/b', 'a\0b', 'a\\..', 3]
)
def test_names_of_other_places_are_refused(name, tmp_path):
  index = shards(tmp_path / 'net', name)
  with pytest.raises((ValueError, FileNotFoundError)) as caught:
    folders.read_state(index, 'it')
  assert '\n' not in str(caught.value)
