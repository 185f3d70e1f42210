"""The data of a run, and the vocabulary that is learned from it once."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
from PIL import Image

from jaxdiff.config import Data, describe
from jaxdiff.runs import examples
from jaxdiff.runs.config_json import save_config

CAPTIONS = {'0.png': 'a red square', '1.png': 'a large blue square'}


@pytest.fixture
def config_of(tmp_path):
  folder = tmp_path / 'set'
  folder.mkdir()
  for name in CAPTIONS:
    Image.new('RGB', (8, 8), 'red').save(folder / name)
  (folder / 'captions.json').write_text(json.dumps(CAPTIONS))

  def config(**condition):
    return dataclasses.replace(
      tiny.config,
      data=Data(name=f'folder:{folder}'),
      condition=dataclasses.replace(tiny.config.condition, **condition),
    )

  return config


def largest(config, workdir, **flags):
  dataset = examples.load(config, workdir, **flags).dataset
  return dataset.gather(np.arange(2))['tokens'].max()


def test_a_vocabulary_is_of_the_run_that_began_with_it(config_of, tmp_path):
  workdir = tmp_path / 'run'
  large, small = (config_of(text='bpe', vocab_size=n) for n in (270, 260))
  with pytest.raises(FileNotFoundError, match='vocabulary of the run'):
    examples.load(large, workdir)
  assert not workdir.exists()
  assert largest(large, workdir, training=True) >= 260
  # Nothing came of that run: the next configuration has its own.
  assert largest(small, workdir, training=True) < 260
  assert largest(small, workdir) < 260
  spec = examples.load(small, workdir).spec
  save_config(workdir, describe(small, spec))
  (workdir / 'checkpoints' / '4').mkdir(parents=True)
  before = (workdir / 'tokenizer.json').read_text()
  largest(large, workdir, training=True)
  assert (workdir / 'tokenizer.json').read_text() == before


def test_conditions_that_the_set_lacks_are_refused(config_of, tmp_path):
  with pytest.raises(ValueError, match='needs a data set with labels'):
    examples.load(config_of(label=True), tmp_path)
  digits = dataclasses.replace(config_of(text='bytes'), data=Data('digits'))
  with pytest.raises(ValueError, match='needs a data set with captions'):
    examples.load(digits, tmp_path)
