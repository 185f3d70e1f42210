"""Pipes and devices in the place of files: refused, and never waited for."""

import numpy as np
import pytest
from PIL import Image

from jaxdiff import config, data
from jaxdiff.evaluation import references
from jaxdiff.generation import conditions, infills, inputs

SHAPE = (8, 8, 1)
READERS = {
  'text': lambda path: data.load(f'text:{path}', length=8),
  'lines': lambda path: data.load(f'lines:{path}'),
  'npz': lambda path: data.load(f'npz:{path}'),
  'image': lambda path: inputs.read_image(path, SHAPE),
  'mask': lambda path: inputs.read_mask(path, SHAPE),
  'prompts': lambda path: conditions.read_prompts(None, path),
  'infills': lambda path: infills.one_or_lines(None, path, 'infill'),
}


@pytest.mark.parametrize('name', READERS)
@pytest.mark.parametrize('path', ['/dev/null', '/dev'])
def test_what_is_no_file_is_refused(name, path):
  with pytest.raises(ValueError, match=f'{path} is not a regular file'):
    READERS[name](path)


def test_statistics_are_not_looked_for_in_a_device():
  # Opening a pipe would wait for its other end; a device ends at once.
  assert not references.has_statistics('/dev/null')
  with pytest.raises(ValueError, match='/dev/null is no regular file'):
    config.load_file('/dev/null')


@pytest.mark.parametrize(
  ('target', 'message'),
  [('/dev/null', 'not a regular file'), ('nowhere', 'no such file')],
)
def test_captions_that_are_no_file_are_not_left_out(tmp_path, target, message):
  Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / 'a.png')
  assert not data.load(f'folder:{tmp_path}').has_captions
  (tmp_path / 'captions.json').symlink_to(target)
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    data.load(f'folder:{tmp_path}')
