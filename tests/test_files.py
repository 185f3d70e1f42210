"""Text files that people write: one reader for data, prompts and captions."""

import os
from pathlib import Path

import pytest

from jaxdiff.files import (
  as_path,
  check_target,
  read_json,
  read_lines,
  save,
  write_json,
)

SEPARATORS = '\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r'


@pytest.mark.parametrize(
  ('content', 'lines'),
  [
    ('', []),
    ('a', ['a']),
    ('a\n', ['a']),
    ('a\n\nb\n', ['a', '', 'b']),
    ('\n\n', ['', '']),
    ('a\r\nb\r\n', ['a', 'b']),
    ('\ufeffa\nb', ['a', 'b']),
    ('\ufeff', []),
    # What `str.splitlines` takes for ends of lines.
    (f'a{SEPARATORS}b\nc', [f'a{SEPARATORS}b', 'c']),
    ('é€𝄞 猫\n', ['é€𝄞 猫']),
  ],
)
def test_lines(tmp_path, content, lines):
  (tmp_path / 'a.txt').write_bytes(content.encode())
  assert read_lines(tmp_path / 'a.txt') == lines


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'a\nb\nc\xff\nd', r'a\.txt line 3 is not UTF-8'),
    ('ä'.encode('latin-1'), r'a\.txt line 1 is not UTF-8'),
    ('a\nb'.encode('utf-16'), r'a\.txt line 1 is not UTF-8'),
    ('a\nb'.encode('utf-16-le'), r'a\.txt line 1 has a NUL'),
    (b'a\n' * 70_000 + b'\xc3\n', r'a\.txt line 70001 is not UTF-8'),
    (b'a\n' * 600_000 + b'\0\n', r'a\.txt line 600001 has a NUL'),
  ],
)
def test_what_is_no_text_is_named_with_its_line(tmp_path, content, message):
  (tmp_path / 'a.txt').write_bytes(content)
  with pytest.raises(ValueError, match=message):
    read_lines(tmp_path / 'a.txt')


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'no such file .*a\.txt'):
    read_lines(tmp_path / 'a.txt')


def test_a_file_is_replaced_and_nothing_else(tmp_path):
  """A link is followed, a mode is kept; what is no file is left alone."""
  file, link = tmp_path / 'real.json', tmp_path / 'link.json'
  write_json(file, 1)
  assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()
  file.chmod(0o600)
  link.symlink_to('real.json')
  write_json(link, 2)
  assert link.is_symlink() and read_json(file, 'it') == 2
  assert file.stat().st_mode & 0o777 == 0o600
  # A link to nothing makes the file that it names.
  (tmp_path / 'ahead').symlink_to('new/file.json')
  write_json(tmp_path / 'ahead', 3)
  assert read_json(tmp_path / 'new' / 'file.json', 'it') == 3

  fifo, folder = tmp_path / 'fifo', tmp_path / 'folder'
  os.mkfifo(fifo)
  folder.mkdir()
  for target in (fifo, folder, Path('/dev/null')):
    with pytest.raises(FileExistsError, match=f'{target} is (no|a) '):
      write_json(target, 4)
  assert fifo.is_fifo() and Path('/dev/null').is_char_device()


def test_a_failed_write_leaves_what_was_there(tmp_path):
  write_json(tmp_path / 'a.json', 1)

  def fail(path):
    path.write_text('half')
    raise OSError('disk full')

  with pytest.raises(OSError, match='disk full'):
    save(tmp_path / 'a.json', fail)
  assert [p.name for p in tmp_path.iterdir()] == ['a.json']
  assert read_json(tmp_path / 'a.json', 'it') == 1


def test_a_target_is_checked_before_the_work(tmp_path, monkeypatch):
  file = tmp_path / 'file'
  file.touch()
  check_target(file)
  check_target(tmp_path / 'new' / 'deep' / 'file')
  check_target(tmp_path, folder=True)
  with pytest.raises(FileExistsError, match='is a folder, and a file was'):
    check_target(tmp_path)
  with pytest.raises(FileExistsError, match='and a folder was'):
    check_target(file, folder=True)
  with pytest.raises(NotADirectoryError, match='file is no folder'):
    check_target(file / 'below' / 'x.png')
  monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may all
  with pytest.raises(PermissionError, match='cannot be written to'):
    check_target(tmp_path / 'new' / 'file')


def test_a_link_to_itself_is_no_target(tmp_path):
  link = tmp_path / 'link'
  link.symlink_to(link)
  for path in (link, link / 'below'):
    with pytest.raises(OSError, match='symbolic links'):
      check_target(path)
  # One to a file that is not there yet is followed.
  (tmp_path / 'other').symlink_to(tmp_path / 'new.json')
  save(tmp_path / 'other', lambda path: path.write_text('1'))
  assert read_json(tmp_path / 'new.json', 'it') == 1


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_read(make, tmp_path):
  make(tmp_path / 'x.json')
  with pytest.raises(ValueError, match='it .*x.json is no regular file'):
    read_json(tmp_path / 'x.json', 'it')


def _umask():
  mask = os.umask(0)
  os.umask(mask)
  return mask


@pytest.mark.parametrize('name', ['', ' ', '\t\n'])
def test_a_path_without_a_name_is_refused(name):
  with pytest.raises(ValueError, match='a path must have a name, got'):
    as_path(name)
