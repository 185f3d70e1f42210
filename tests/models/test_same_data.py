"""A run and its data: other data are refused, another path is not."""

import dataclasses
import json
import os

import numpy as np
import pytest
import tiny
from PIL import Image

from jaxdiff import config as c
from jaxdiff import data
from jaxdiff.evaluation.commands.drawing import load_data
from jaxdiff.evaluation.commands.graphs import Graphs
from jaxdiff.evaluation.flags import Kept
from jaxdiff.models import prompts
from jaxdiff.runs import check_continues, examples
from jaxdiff.runs.config_json import load_config, save_config


def draw(folder, level, name='0.png'):
  folder.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((8, 8), level, np.uint8)).save(folder / name)


@pytest.fixture
def pets(tmp_path):
  for i, place in enumerate(('train/cat', 'train/dog', 'test/cat', 'test/dog')):
    draw(tmp_path / 'pets' / place, 50 * i)
  return tmp_path / 'pets'


def config_of(name, workdir, **sections):
  config = tiny.changed(tiny.config, data={'name': name}, **sections)
  return dataclasses.replace(config, workdir=str(workdir))


def begin(config):
  """Reads the data of a new run, and writes what train.py would."""
  found = examples.load(config, config.workdir, training=True)
  save_config(config.workdir, c.describe(config, found.spec))
  os.makedirs(f'{config.workdir}/checkpoints/2')
  return found


def resume(config):
  found = examples.load(config, config.workdir, training=True)
  return check_continues(config.workdir, c.describe(config, found.spec))


def evaluate(config, spec):
  return examples.load(config, config.workdir, 'test', spec)


def test_the_same_data_at_another_path_continue(pets, tmp_path):
  config = config_of(f'folder:{pets}', tmp_path / 'run')
  spec = begin(config).spec
  assert resume(config) == []
  moved = tmp_path / 'moved'
  pets.rename(moved)
  config = tiny.changed(config, data={'name': f'folder:{moved}'})
  assert resume(config)[0]['changed'] == {
    'data.name': [f'folder:{pets}', f'folder:{moved}']
  }
  evaluate(config, spec)
  other = tiny.changed(config, data={'image_size': 8})
  with pytest.raises(ValueError, match='data.image_size: checkpoint has None'):
    resume(other)


@pytest.mark.parametrize(('name', 'value'), [('flip', True), ('augment', 0.1)])
def test_points_are_not_mirrored(tmp_path, name, value):
  config = config_of('two_moons', tmp_path)
  config = tiny.changed(config, data={'name': 'two_moons', name: value})
  message = rf'^--data\.{name} is for images, and two'
  with pytest.raises(ValueError, match=message):
    examples.load(config, tmp_path, training=True)


def test_a_split_may_be_added_and_its_place_change(pets, tmp_path):
  (pets / 'test').rename(tmp_path / 'later')
  config = config_of(f'folder:{pets}', tmp_path / 'run')
  spec = begin(config).spec
  (tmp_path / 'later').rename(pets / 'Testing')
  (pets / 'train').rename(pets / 'training')
  resume(config)
  evaluate(config, spec)


def rename(pets):
  for split in ('train', 'test'):
    (pets / split / 'cat').rename(pets / split / 'zebra')


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (
      rename,
      "other classes or order: 'zebra' new, 'cat' gone; other train file ",
    ),
    (lambda pets: draw(pets / 'test/dog', 7), 'trained on: other test images$'),
    (
      lambda pets: draw(pets / 'train/dog', 7, '1.png'),
      'other train file names, train images$',
    ),
    (lambda pets: draw(pets / 'train/eel', 7), "'eel' new, none gone"),
    (
      lambda pets: (pets / 'captions.json').write_text('{}'),
      'no caption in',
    ),
  ],
)
def test_other_images_are_refused(pets, tmp_path, change, said):
  config = config_of(f'folder:{pets}', tmp_path / 'run')
  spec = begin(config).spec
  change(pets)
  for read in (resume, lambda config: evaluate(config, spec)):
    with pytest.raises(ValueError, match=said) as raised:
      read(config)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('kind', ['text', 'lines', 'smiles'])
def test_lines_in_another_order_are_refused(tmp_path, kind):
  file = tmp_path / 'file'
  lines = ['CCO', 'CCN', 'OCC', 'CNC', 'C', 'OCN', 'NCC'] * 3
  lines = lines if kind == 'text' else list(dict.fromkeys(lines))
  if kind == 'smiles':
    pytest.importorskip('rdkit')
  file.write_text('\n'.join(lines))
  length = 4 if kind == 'text' else None
  config = config_of(f'{kind}:{file}', tmp_path / 'run')
  config = tiny.changed(config, data={'length': length})
  spec = begin(config).spec
  evaluate(config, spec)
  other = tmp_path / 'other'
  other.write_text('\n'.join(reversed(lines)))
  config = tiny.changed(config, data={'name': f'{kind}:{other}'})
  part = 'molecules' if kind == 'smiles' else 'text'
  for read in (resume, lambda config: evaluate(config, spec)):
    with pytest.raises(ValueError, match=f'trained on: other {part}$'):
      read(config)


def test_an_evaluation_is_told_where_the_data_are_now(tmp_path):
  file = tmp_path / 'file'
  file.write_text('\n'.join(f'line {i}' for i in range(30)))
  config = config_of(f'lines:{file}', tmp_path / 'run')
  begin(config)
  moved = file.rename(tmp_path / 'moved')
  flags = Kept(workdir=config.workdir)
  with pytest.raises(FileNotFoundError, match='data that moved: --data-name'):
    load_data(flags, 'text')
  flags = dataclasses.replace(flags, data_name=f'lines:{moved}')
  train, test = load_data(flags, 'text')
  assert len(train) == 27 and len(test) == 3


def test_graphs_of_other_data_are_refused_before_anything_is_drawn(tmp_path):
  config = config_of('grid_small', tmp_path / 'run')
  config = dataclasses.replace(
    config,
    diffusion=c.Categorical(process='marginal'),
    network=c.GraphTransformer(),
    sampling=c.Sampling(sampler='ancestral'),
  )
  begin(config)
  flags = Graphs(workdir=config.workdir)
  other = dataclasses.replace(flags, data_name='trees')
  with pytest.raises(ValueError, match='it is trees and was grid_small'):
    other.run()
  saved = load_config(config.workdir)
  saved['spec']['data']['test graphs'] = 'of another version of networkx'
  save_config(config.workdir, saved)
  with pytest.raises(ValueError, match='trained on: other test graphs$'):
    flags.run()
  assert not (tmp_path / 'run/evaluation').exists()


def test_a_set_of_another_kind_is_refused(pets, tmp_path):
  spec = begin(config_of(f'folder:{pets}', tmp_path / 'run')).spec
  with pytest.raises(ValueError, match='it is digits and was folder; other cl'):
    examples.check(spec, data.load('digits'))


def test_a_run_without_a_record_is_continued_with_one_line(
  pets, tmp_path, capsys
):
  config = config_of(f'folder:{pets}', tmp_path / 'run')
  begin(config)
  saved = load_config(config.workdir)
  del saved['spec']['data']
  save_config(config.workdir, saved)
  assert resume(config) == []
  evaluate(config, examples.read_config(config.workdir)[1])
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(
    'warning: the run is older than the record of its data'
  )


CAPTIONS = {'0.png': 'a red square', '1.png': 'a large blue square'}


def captioned(tmp_path, text):
  for name in CAPTIONS:
    draw(tmp_path / 'set', 9, name)
  (tmp_path / 'set/captions.json').write_text(json.dumps(CAPTIONS))
  condition = {'text': text, 'length': 16, 'vocab_size': 270}
  return config_of(
    f'folder:{tmp_path / "set"}', tmp_path / 'run', condition=condition
  )


def test_captions_that_are_cut_are_counted_and_kept(tmp_path):
  config = captioned(tmp_path, 'bytes')
  found = begin(config)
  assert found.dataset.summary().endswith('; 1 of 2 texts are cut to 16 tokens')
  kept = load_config(config.workdir)['spec']['data']['cut']
  assert kept == {'num': 1, 'of': 2, 'length': 16}
  captions = {'0.png': 'a red square', '1.png': 'a large green square'}
  (tmp_path / 'set/captions.json').write_text(json.dumps(captions))
  with pytest.raises(ValueError, match='trained on: other train captions$'):
    resume(config)


def test_a_vocabulary_with_other_ids_is_refused(tmp_path):
  config = captioned(tmp_path, 'bpe')
  spec = begin(config).spec
  path = tmp_path / 'run/tokenizer.json'
  described = json.loads(path.read_text())
  vocab = described['model']['vocab']
  described['model']['vocab'] = dict(
    zip(vocab, reversed(vocab.values()), strict=True)
  )
  path.write_text(json.dumps(described))
  with pytest.raises(ValueError, match='tokenizer.json has changed: the run'):
    resume(config)
  with pytest.raises(ValueError, match='trained with another vocabulary$'):
    prompts.make(config.condition, config.workdir, spec)
