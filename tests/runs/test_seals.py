"""A seal finds every kind of damage in every file."""

import pytest

from jaxdiff.runs.seals import damages, read_note, seal

NAMES = ['data', 'below/deeper/data', 'seal.json']


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def truncate(path):
  path.write_bytes(path.read_bytes()[:-1])


def lengthen(path):
  path.write_bytes(path.read_bytes() + b'\0')


def delete(path):
  path.unlink()


@pytest.fixture
def directory(tmp_path):
  (tmp_path / 'below' / 'deeper').mkdir(parents=True)
  (tmp_path / 'data').write_bytes(bytes(range(256)) * 100)
  (tmp_path / 'below' / 'deeper' / 'data').write_bytes(b'\0' * 1000)
  (tmp_path / 'empty').touch()
  (tmp_path / 'clock').write_text('one')
  seal(tmp_path, {'any': [1, 'note']}, skip=['clock'])
  return tmp_path


def test_what_is_untouched_has_no_damage(directory):
  (directory / 'clock').write_text('two')
  assert list(damages(directory)) == []
  assert read_note(directory) == {'any': [1, 'note']}


@pytest.mark.parametrize(
  ('name', 'harm'),
  [(n, harm) for n in NAMES for harm in (flip, truncate, lengthen, delete)]
  + [('empty', lengthen), ('empty', delete)],
)
def test_damage_to_any_file_is_named(directory, name, harm):
  harm(directory / name)
  (found,) = damages(directory)
  assert found.startswith(name)


def test_any_byte_of_the_seal_counts(directory):
  path = directory / 'seal.json'
  content = path.read_bytes()
  for i in range(0, len(content), 7):
    changed = bytearray(content)
    changed[i] ^= 1
    path.write_bytes(changed)
    # Spaces between the fields mean nothing, and may change.
    assert list(damages(directory)) or content[i : i + 1].isspace()


def test_an_emptied_directory_is_said_to_be_one(tmp_path):
  assert list(damages(tmp_path)) == ['the directory is empty']
  tmp_path.rmdir()
  assert len(list(damages(tmp_path))) == 1
