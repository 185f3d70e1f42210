"""Zip archives of stored members, the container of torch.save.

`zipfile` reads them, but unpacks members of any size and makes an object of
every entry of a directory of any length. So archives from strangers are checked
first: no member is compressed, all together are no larger than the file, and
the directory has at most `MAX_DIRECTORY` bytes.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
"""

import os
import struct
import zipfile
from typing import BinaryIO

SIGNATURE = b'PK\3\4'  # of an archive's first member
MAX_DIRECTORY = 1 << 22  # bytes, some 50,000 members

_END = struct.Struct('<4s8xL4xH')
_LOCATOR = struct.Struct('<4s4xQ4x')
_END64 = struct.Struct('<4s36xQ')


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
  """Opens an archive whose members can be read in the memory of its size.

  Raises:
    ValueError: It is damaged, too long, or has compressed members.
    zipfile.BadZipFile: It is damaged.
  """
  size = file.seek(0, os.SEEK_END)
  length = _directory_length(file, size)
  if length > MAX_DIRECTORY:
    raise ValueError(
      f'the directory of the archive has {length} bytes, which is above '
      f'{MAX_DIRECTORY}'
    )
  archive = zipfile.ZipFile(file)
  members = archive.infolist()
  for member in members:
    stored = member.compress_type == zipfile.ZIP_STORED
    if not stored or member.compress_size != member.file_size:
      raise ValueError(
        f'{member.filename[:100]!r} in the archive is compressed, which '
        'torch.save does not do'
      )
  if sum(member.file_size for member in members) > size:
    raise ValueError('members of the archive overlap')
  return archive


def _directory_length(file: BinaryIO, size: int) -> int:
  end = size - _END.size
  signature, length, comment = _END.unpack(_read(file, end, _END.size))
  if signature != b'PK\5\6' or comment:
    raise ValueError('the archive ends early, or has a comment at its end')
  if end >= _LOCATOR.size:
    locator = _read(file, end - _LOCATOR.size, _LOCATOR.size)
    signature, start = _LOCATOR.unpack(locator)
    if signature == b'PK\6\7':
      _, length = _END64.unpack(_read(file, start, _END64.size))
  return length


def _read(file: BinaryIO, start: int, length: int) -> bytes:
  if not 0 <= start <= os.fstat(file.fileno()).st_size - length:
    raise ValueError('the archive ends early')
  file.seek(start)
  return file.read(length)
