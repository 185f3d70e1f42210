"""The configuration beside the checkpoints."""

import pytest

from jaxdiff.runs.run import check_config, load_config, save_config

CONFIG = {
  'network': {'name': 'unet', 'channels': 64, 'attention': (8, 16), 'no': {}},
  'optimizer': {'rate': 2e-4, 'clip': None},
  'seed': 0,
}


def test_what_is_saved_is_loaded_and_agrees(tmp_path):
  save_config(tmp_path / 'run', {'seed': 1})
  save_config(tmp_path / 'run', CONFIG)
  saved = load_config(tmp_path / 'run')
  assert saved['network']['channels'] == 64
  assert saved['network']['attention'] == [8, 16]
  assert [p.name for p in (tmp_path / 'run').iterdir()] == ['config.json']
  check_config(saved, CONFIG, ['network', 'optimizer', 'seed'])


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
  save_config(tmp_path, CONFIG)
  with pytest.raises(TypeError):
    save_config(tmp_path, {'network': object()})
  assert load_config(tmp_path)['seed'] == 0


def test_missing_or_damaged_is_said(tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no run'):
    load_config(tmp_path)
  save_config(tmp_path, CONFIG)
  path = tmp_path / 'config.json'
  path.write_text(path.read_text()[:-20])
  with pytest.raises(ValueError, match='config.json is damaged'):
    load_config(tmp_path)
  path.write_text('[1, 2]')
  with pytest.raises(ValueError, match='config.json is damaged'):
    load_config(tmp_path)


def test_every_differing_field_is_listed(tmp_path):
  save_config(tmp_path, CONFIG)
  new = {
    'network': {'name': 'unet', 'channels': 128, 'attention': (8,), 'new': 1},
    'optimizer': {'rate': 2e-4, 'clip': 1.0},
    'seed': 5,
  }
  with pytest.raises(ValueError) as raised:
    check_config(load_config(tmp_path), new, ['network', 'optimizer'])
  _, *lines = str(raised.value).splitlines()
  assert {line.strip() for line in lines} == {
    'network.channels: checkpoint has 64, config has 128',
    'network.attention: checkpoint has [8, 16], config has [8]',
    'network.no: checkpoint has {}, config has no such field',
    'network.new: checkpoint has no such field, config has 1',
    'optimizer.clip: checkpoint has None, config has 1.0',
  }
  check_config(load_config(tmp_path), new | CONFIG, ['network'])


def test_a_whole_section_may_differ_but_not_be_misspelt():
  with pytest.raises(ValueError, match='network: checkpoint has None'):
    check_config({'network': None}, CONFIG, ['network'])
  with pytest.raises(ValueError, match='network.channels: checkpoint has no'):
    check_config({}, CONFIG, ['network'])
  with pytest.raises(ValueError, match='netwrok'):
    check_config(CONFIG, CONFIG, ['netwrok'])
