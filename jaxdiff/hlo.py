"""Costs of a compiled program per device, read from its HLO text.

`compiled.cost_analysis()` counts the body of a loop once, so a network whose
blocks are scanned looks 28 times too cheap. Here a body counts as often as it
runs. Arrays that the compiler keeps in on-chip memory are not traffic, and the
padding of an array to whole tiles is.
"""

import collections
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

COLLECTIVES = (
  'all-gather',
  'all-reduce',
  'all-to-all',
  'collective-permute',
  'reduce-scatter',
)
# Operations that move nothing by themselves.
FREE = {
  *('after-all', 'bitcast', 'constant', 'get-tuple-element', 'iota'),
  *('opt-barrier', 'parameter', 'partition-id', 'replica-id', 'tuple'),
  *('call', 'conditional', 'while'),  # their bodies are counted
}
BRANCHES = ('true_computation', 'false_computation')

_SHAPE = re.compile(r'(\w+)\[([\d,]*)\](?:\{([^}]*)\})?')
_NAME = re.compile(r'%[\w.-]+')
_OPCODE = re.compile(r' ([a-z][\w-]*)\(')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Costs(NamedTuple):
  """Costs of one run of a program on each device.

  flops: multiplications and additions of convolutions and matrix products.
  bytes: moved to and from main memory.
  collectives: kind -> (how many, bytes of their operands).
  """

  flops: float
  bytes: float
  collectives: Mapping[str, tuple[int, float]]


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


def costs(text: str) -> Costs:
  """Computes the costs of a program from `compiled.as_text()`."""
  computations, entry = _parse(text)
  flops, moved = 0.0, 0.0
  collectives = collections.defaultdict(lambda: [0, 0.0])
  for name, times in _runs(computations, entry).items():
    computation = computations[name]
    for op in computation.values():
      flops += times * _flops(op, computation, computations)
      moved += times * _traffic(op, computation, computations)
      kind = op.opcode.removesuffix('-start')
      if kind in COLLECTIVES:
        collectives[kind][0] += times
        collectives[kind][1] += times * sum(
          shape.bytes for shape in _operands(op, computation)
        )
  return Costs(flops, moved, {k: tuple(v) for k, v in collectives.items()})


def _parse(text: str) -> tuple[dict[str, Computation], str]:
  """Returns the computations by name, and the name of the first to run."""
  computations, entry, current = {}, '', None
  for line in text.splitlines():
    if current is None:
      if line.endswith('{') and (names := _NAME.findall(line)):
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
    _NAME.search(head)[0],
    opcode[1],
    shapes,
    _NAME.findall(rest[opcode.end() : end]),
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


def _runs(computations: Mapping[str, Computation], entry: str) -> dict:
  """Counts the runs of each computation, but for those inside a fusion."""
  runs = collections.Counter()

  def visit(name: str, times: int) -> None:
    runs[name] += times
    for op in computations[name].values():
      if op.opcode == 'while':
        trips = _trips(op, computations[_called(op, 'condition')])
        visit(_called(op, 'body'), times * trips)
      elif op.opcode == 'conditional':
        # One branch runs; the largest stands for it.
        branches = re.search(r'branch_computations=\{([^}]*)\}', op.attributes)
        names = _NAME.findall(branches[1]) if branches else []
        names += [b for key in BRANCHES if (b := _called(op, key))]
        visit(max(names, key=lambda name: len(computations[name])), times)
      elif op.opcode == 'call':
        visit(_called(op, 'to_apply'), times)

  visit(entry, 1)
  return runs


def _trips(op: Instruction, condition: Computation) -> int:
  """Reads the turns of a loop: its own count, or the bound of its counter."""
  if said := _TRIPS.search(op.attributes):
    return int(said[1])
  root = next(x for x in condition.values() if x.root)
  bounds = [
    int(value[0])
    for name in root.operands
    if condition[name].opcode == 'constant'
    and (value := re.match(r'\d+', condition[name].attributes))
  ]
  if len(bounds) == 1 and 'direction=LT' in root.attributes:
    return bounds[0]
  raise ValueError(f'the loop {op.name} does not say how often it runs')


def _called(op: Instruction, key: str) -> str | None:
  found = re.search(rf'\b{key}=(%[\w.-]+)', op.attributes)
  return found[1] if found else None


def _operands(op: Instruction, computation: Computation) -> list[Shape]:
  return [
    shape
    for name in op.operands
    if name in computation
    for shape in computation[name].shapes
  ]


def _traffic(
  op: Instruction,
  computation: Computation,
  computations: Mapping[str, Computation],
) -> float:
  """Bytes that an instruction moves to and from main memory."""
  if op.opcode in FREE or 'ConcatBitcast' in op.attributes:
    return 0.0
  if op.opcode.endswith(('-done', '-update')):
    return 0.0
  if op.opcode == 'copy-start':  # its result is (target, source, ...)
    return sum(shape.traffic for shape in op.shapes[:2])
  if op.opcode == 'slice-start':  # its result is ((source), target, ...)
    source, target = op.shapes[:2]
    return source.main_memory * target.bytes + target.traffic
  if op.opcode in ('dynamic-slice', 'slice', 'gather'):
    return 2 * sum(shape.traffic for shape in op.shapes)
  if op.opcode == 'dynamic-update-slice':
    return 2 * computation[op.operands[1]].shapes[0].traffic
  if op.opcode != 'fusion':
    read = sum(shape.traffic for shape in _operands(op, computation))
    return read + sum(shape.traffic for shape in op.shapes)
  return _fusion(op, computation, computations[_called(op, 'calls')])


def _fusion(
  op: Instruction, computation: Computation, body: Computation
) -> float:
  """Traffic of a fusion, in which a slice reads only what it returns."""
  users = collections.defaultdict(list)
  for inner in body.values():
    for name in inner.operands:
      users[name].append(inner)
  root = next(x for x in body.values() if x.root)
  moved, updated = sum(shape.traffic for shape in op.shapes), None
  if root.opcode == 'dynamic-update-slice':  # in place
    updated, part = root.operands[:2]
    moved = 2 * body[part].shapes[0].bytes
  for parameter in body.values():
    if parameter.opcode != 'parameter' or parameter.name == updated:
      continue
    number = int(re.match(r'\d+', parameter.attributes)[0])
    shape = computation[op.operands[number]].shapes[0]
    inner = users[parameter.name]
    read = shape.traffic
    if inner and all(x.opcode in ('dynamic-slice', 'slice') for x in inner):
      read = min(read, sum(x.shapes[0].bytes for x in inner))
    moved += read
  return moved


def _flops(
  op: Instruction,
  computation: Computation,
  computations: Mapping[str, Computation],
) -> float:
  if op.opcode == 'fusion':
    body = computations[_called(op, 'calls')]
    return sum(_flops(inner, body, computations) for inner in body.values())
  if op.opcode == 'dot':
    left = computation[op.operands[0]].shapes[0]
    dims = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', op.attributes)[1]
    contracted = [left.dims[int(i)] for i in dims.split(',') if i]
    return 2.0 * math.prod(op.shapes[0].dims) * math.prod(contracted)
  if op.opcode == 'convolution':
    return _convolution(op, *(computation[x].shapes[0] for x in op.operands))
  return 0.0


def _convolution(op: Instruction, left: Shape, right: Shape) -> float:
  """2 x the pairs of input and kernel values that meet, zeros left out."""
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', op.attributes)
  out = dict(zip(labels[3], op.shapes[0].dims, strict=True))
  lhs = dict(zip(labels[1], left.dims, strict=True))
  rhs = dict(zip(labels[2], right.dims, strict=True))
  found = re.search(r'window=\{([^}]*)\}', op.attributes)
  window = dict(x.split('=') for x in found[1].split()) if found else {}
  flops = 2.0 * out['b'] * out['f'] * rhs['i']
  for i, dim in enumerate(sorted(set(out) - {'b', 'f'})):
    stride, spread, step = (
      int(window[key].split('x')[i]) if key in window else 1
      for key in ('stride', 'lhs_dilate', 'rhs_dilate')
    )
    pad = window['pad'].split('x')[i] if 'pad' in window else '0_0'
    start = stride * np.arange(out[dim]) - int(pad.split('_')[0])
    at = start[:, None] + step * np.arange(rhs[dim])[None]
    inside = (at >= 0) & (at <= (lhs[dim] - 1) * spread) & (at % spread == 0)
    flops *= float(inside.sum())
  return flops
