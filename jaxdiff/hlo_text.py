"""HLO text, the programs of XLA, as computations of instructions."""

import math
import re
from typing import NamedTuple

_SHAPE = re.compile(r'(\w+)\[([\d,]*)\](?:\{([^}]*)\})?')
NAME = re.compile(r'%[\w.-]+')
_OPCODE = re.compile(r' ([a-z][\w-]*)\(')


class Shape(NamedTuple):
  """An array of a program."""

  dims: tuple[int, ...]
  bytes: float  # with the padding of its tiles
  main_memory: bool  # and not on the chip

  @property
  def traffic(self) -> float:
    return self.bytes if self.main_memory else 0.0


class Instruction(NamedTuple):
  """One line of a computation."""

  name: str
  opcode: str
  shapes: list[Shape]  # of the result, several for a tuple
  operands: list[str]
  attributes: str  # from the operands on
  root: bool


Computation = dict[str, Instruction]


def parse(text: str) -> tuple[dict[str, Computation], str]:
  """Returns the computations by name, and the name of the first to run."""
  computations, entry, current = {}, '', None
  for line in text.splitlines():
    if current is None:
      if line.endswith('{') and (names := NAME.findall(line)):
        current = computations[names[0]] = {}
        entry = names[0] if line.startswith('ENTRY') else entry
    elif line.startswith('}'):
      current = None
    elif ' = ' in line:
      op = _instruction(line)
      current[op.name] = op
  return computations, entry


def _instruction(line: str) -> Instruction:
  head, rest = line.split(' = ', 1)
  # The type comes first, in brackets if it is a tuple.
  start = _closing(rest, 1) + 1 if rest[0] == '(' else 0
  opcode = _OPCODE.search(rest, start)
  shapes = [_shape(*match) for match in _SHAPE.findall(rest[: opcode.start()])]
  end = _closing(rest, opcode.end())
  return Instruction(
    NAME.search(head)[0],
    opcode[1],
    shapes,
    NAME.findall(rest[opcode.end() : end]),
    rest[opcode.end() :],
    head.lstrip().startswith('ROOT'),
  )


def _closing(text: str, start: int) -> int:
  """The position of the bracket that closes the one before `start`."""
  depth = 1
  for i in range(start, len(text)):
    depth += {'(': 1, ')': -1}.get(text[i], 0)
    if not depth:
      return i
  return len(text)


def _shape(dtype: str, dims: str, layout: str) -> Shape:
  sizes = tuple(int(n) for n in dims.split(',') if n)
  bits = re.search(r'\d+', dtype)
  width = int(bits[0]) / 8 if bits else float(dtype == 'pred')
  order, _, tiling = layout.partition(':')
  padded = list(sizes)
  if tile := re.search(r'T\(([\d,]+)\)', tiling):
    minor = [int(i) for i in order.split(',') if i]
    tile_dims = [int(n) for n in tile[1].split(',')]
    for i, n in zip(minor, reversed(tile_dims), strict=False):
      padded[i] = -(-sizes[i] // n) * n
  space = re.search(r'S\((\d+)\)', tiling)
  return Shape(sizes, math.prod(padded) * width, not space or space[1] == '0')


def called(op: Instruction, key: str) -> str | None:
  found = re.search(rf'\b{key}=(%[\w.-]+)', op.attributes)
  return found[1] if found else None
