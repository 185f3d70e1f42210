"""Text files that people write: one reader for data, prompts and captions."""

import pytest

from jaxdiff.files import read_lines

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
