"""Zip archives of stored members, the container of torch.save.

`zipfile` would do, but for archives from strangers: it unpacks members of any
size, and makes an object of every entry of a directory of any length. Here no
member is compressed or overlaps another, all are within the file, and the
directory has at most `MAX_DIRECTORY` bytes.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

SIGNATURE = b'PK\3\4'  # of an archive's first member
MAX_DIRECTORY = 1 << 22  # bytes, some 50,000 members

_LOCAL = struct.Struct('<4s22x2H')
_ENTRY = struct.Struct('<4s4x2H4x3L3H8xL')
_END = struct.Struct('<4s8x2LH')
_LOCATOR = struct.Struct('<4s4xQ4x')
_END64 = struct.Struct('<4s36x2Q')
_SATURATED = 0xFFFFFFFF  # the number stands in the zip64 field instead


class Member(NamedTuple):
  """The place of a member's bytes in the file, and their checksum."""

  start: int
  size: int
  crc: int


def members(file: BinaryIO) -> dict[str, Member]:
  """Reads the directory of an archive.

  Raises:
    ValueError: The archive is damaged; or a member is compressed, encrypted,
      overlaps another, or has the name of another.
  """
  size = file.seek(0, os.SEEK_END)
  start, length = _directory(file, size)
  if length > MAX_DIRECTORY:
    raise ValueError(
      f'the directory of the archive has {length} bytes, which is above '
      f'{MAX_DIRECTORY}'
    )
  directory = _read(file, start, length)
  found, offsets, at = {}, [], 0
  while at < length:
    name, offset, member_size, crc, at = _entry(directory, at)
    signature, *lengths = _LOCAL.unpack(_read(file, offset, _LOCAL.size))
    member = Member(offset + _LOCAL.size + sum(lengths), member_size, crc)
    if signature != SIGNATURE or name in found:
      raise ValueError(f'the archive is damaged at {name[:100]!r}')
    found[name] = member
    offsets.append((offset, member.start + member.size))
  ends = itertools.pairwise([*sorted(offsets), (start, start)])
  if any(end > following for (_, end), (following, _) in ends):
    raise ValueError('members of the archive overlap')
  return found


def read(file: BinaryIO, member: Member) -> bytes:
  """Reads the bytes of a member.

  Raises:
    ValueError: They are not those of the checksum.
  """
  data = _read(file, member.start, member.size)
  if zlib.crc32(data) != member.crc:
    raise ValueError('a member of the archive has another CRC than is stated')
  return data


def _directory(file: BinaryIO, size: int) -> tuple[int, int]:
  """Start and length of the directory."""
  end = size - _END.size
  signature, length, start, comment = _END.unpack(_read(file, end, _END.size))
  if signature != b'PK\5\6' or comment:
    raise ValueError('the archive ends early, or has a comment at its end')
  at = end - _LOCATOR.size
  if at >= 0:
    signature, offset = _LOCATOR.unpack(_read(file, at, _LOCATOR.size))
    if signature == b'PK\6\7':
      record = _read(file, offset, _END64.size)
      signature, length, start = _END64.unpack(record)
      if signature != b'PK\6\6':
        raise ValueError('the archive has no zip64 record where it should be')
  return start, length


def _entry(directory: bytes, at: int) -> tuple[str, int, int, int, int]:
  """Name, offset, size and checksum at `at`, and where the next entry is."""
  entry = directory[at : at + _ENTRY.size].ljust(_ENTRY.size, b'\0')
  signature, flags, method, crc, *sizes, offset = _ENTRY.unpack(entry)
  packed, size, name_length, extra_length, comment_length = sizes
  if signature != b'PK\1\2':
    raise ValueError('the directory of the archive is damaged')
  at += _ENTRY.size
  name = directory[at : at + name_length].decode()
  at += name_length
  extra = directory[at : at + extra_length]
  at += extra_length + comment_length
  wide = _zip64(extra)
  size, packed, offset = (
    next(wide) if number == _SATURATED else number
    for number in (size, packed, offset)
  )
  if flags & 1 or method or packed != size:
    raise ValueError(
      f'{name[:100]!r} in the archive is compressed or encrypted, which '
      'torch.save does not do'
    )
  return name, offset, size, crc, at


def _zip64(extra: bytes) -> Iterator[int]:
  """Yields the numbers of the zip64 field among the extra ones."""
  at = 0
  while at + 4 <= len(extra):
    kind, length = struct.unpack_from('<2H', extra, at)
    field = extra[at + 4 : at + 4 + length]
    if kind == 1:
      yield from struct.unpack(f'<{len(field) // 8}Q', field[: len(field) & -8])
    at += 4 + length
  raise ValueError('an entry of the archive lacks its zip64 field')


def _read(file: BinaryIO, start: int, length: int) -> bytes:
  # Checked first: `read` reserves memory for all of it.
  if not 0 <= start <= start + length <= os.fstat(file.fileno()).st_size:
    raise ValueError('the archive ends early')
  file.seek(start)
  return file.read(length)
