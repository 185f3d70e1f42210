"""Costs of a compiled program per device, read from its HLO text.

`compiled.cost_analysis()` counts the body of a loop once, so a network whose
blocks are scanned looks 28 times too cheap. Here a body counts as often as it
runs. Arrays that the compiler keeps in on-chip memory are not traffic, and the
padding of an array to whole tiles is.
"""

import collections
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxdiff.hlo_text import (
  NAME,
  Computation,
  Instruction,
  Shape,
  called,
  parse,
)

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
_UNMOVED = ('"AllocateBuffer"', '"ConcatBitcast"')  # custom calls
BRANCHES = ('true_computation', 'false_computation')

# Devices of a group: written out, [groups, devices], or axes of a mesh.
_GROUP = re.compile(
  r'replica_groups=(?:\{\{([\d,]+)\}|\[\d+,(\d+)\]'
  r'|mesh\[([^\]]*)\] \{([^}]*)\})'
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Costs(NamedTuple):
  """Costs of one run of a program on each device.

  flops: multiplications and additions of convolutions and matrix products.
  bytes: moved to and from main memory.
  collectives: kind -> (how many, bytes that they send around a ring).
  """

  flops: float
  bytes: float
  collectives: Mapping[str, tuple[int, float]]


def costs(text: str) -> Costs:
  """Computes the costs of a program from `compiled.as_text()`."""
  computations, entry = parse(text)
  every = re.search(r'num_(?:partitions|replicas)=(\d+)', text)
  flops, moved, seen = 0.0, 0.0, set()
  collectives = collections.defaultdict(lambda: [0, 0.0])
  for name, times in _runs(computations, entry).items():
    computation = computations[name]
    for op in computation.values():
      flops += times * _flops(op, computation, computations)
      moved += times * _traffic(op, computation, computations)
    for kind, op, inside in _collectives(name, computations):
      channel = re.search(r'channel_id=(\d+)', op.attributes)
      if channel and channel[1] in seen:
        continue  # one that is cut into parts, beside other work
      seen |= {channel[1]} if channel else set()
      size = sum(shape.bytes for shape in _operands(op, inside))
      passes = _passes(kind, op, int(every[1]) if every else 1)
      collectives[kind][0] += times
      collectives[kind][1] += times * passes * size
  return Costs(flops, moved, {k: tuple(v) for k, v in collectives.items()})


def _collectives(
  name: str, computations: Mapping[str, Computation]
) -> Iterator[tuple[str, Instruction, Computation]]:
  """Yields each, its kind, and where it is: in fusions too."""
  computation = computations[name]
  for op in computation.values():
    if op.opcode == 'fusion':
      yield from _collectives(called(op, 'calls'), computations)
    kind = op.opcode.removesuffix('-start')
    if kind in COLLECTIVES:
      scattered = name.startswith('%all-reduce-scatter')
      yield 'reduce-scatter' if scattered else kind, op, computation


def _passes(kind: str, op: Instruction, every: int) -> float:
  """Bytes that a ring sends from each device, by a byte of its operand."""
  found = _GROUP.search(op.attributes)
  size = every
  if found and found[3]:  # by axes of a mesh
    sizes = re.findall(r"'(\w+)'=(\d+)", found[3])
    size = math.prod(int(n) for axis, n in sizes if f"'{axis}'" in found[4])
  elif found:
    size = int(found[2] or 1 + found[1].count(','))
  if kind == 'all-gather':  # whose operand is one part of the array
    return size - 1
  if kind == 'collective-permute':
    return 1
  return (2 if kind == 'all-reduce' else 1) * (size - 1) / size


def _runs(computations: Mapping[str, Computation], entry: str) -> dict:
  """Counts the runs of each computation, but for those inside a fusion."""
  runs = collections.Counter()

  def visit(name: str, times: int) -> None:
    runs[name] += times
    for op in computations[name].values():
      if op.opcode == 'while':
        trips = _trips(op, computations[called(op, 'condition')])
        visit(called(op, 'body'), times * trips)
      elif op.opcode == 'conditional':
        # One branch runs; the largest stands for it.
        branches = re.search(r'branch_computations=\{([^}]*)\}', op.attributes)
        names = NAME.findall(branches[1]) if branches else []
        names += [b for key in BRANCHES if (b := called(op, key))]
        visit(max(names, key=lambda name: len(computations[name])), times)
      elif op.opcode == 'call':
        visit(called(op, 'to_apply'), times)

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
  if op.opcode in FREE or any(x in op.attributes for x in _UNMOVED):
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
  return _fusion(op, computation, computations)


def _fusion(
  op: Instruction,
  computation: Computation,
  computations: Mapping[str, Computation],
) -> float:
  """Traffic of a fusion, which may update its operands in place."""
  body = computations[called(op, 'calls')]
  root = next(x for x in body.values() if x.root)
  results = root.operands if root.opcode == 'tuple' else [root.name]
  moved = sum(shape.traffic for shape in op.shapes)
  for name, shape in zip(results, op.shapes, strict=False):
    if body[name].opcode == 'dynamic-update-slice' and shape.main_memory:
      moved += body[body[name].operands[1]].shapes[0].bytes - shape.bytes
  for number, name in enumerate(op.operands):
    read = _read(_parameter(body, number), body, computations)
    moved += min(computation[name].shapes[0].traffic, read)
  return moved


def _parameter(body: Computation, number: int) -> str:
  found = (x for x in body.values() if x.opcode == 'parameter')
  return next(x.name for x in found if x.attributes.startswith(f'{number})'))


def _read(
  name: str, body: Computation, computations: Mapping[str, Computation]
) -> float:
  """Bytes that are read of a value: of a slice of it, those of the slice."""
  read = 0.0
  for user in body.values():
    if name not in user.operands:
      continue
    if user.opcode in ('dynamic-slice', 'slice'):
      read += user.shapes[0].bytes
    elif user.opcode == 'bitcast':
      read += _read(user.name, body, computations)
    elif user.opcode == 'fusion':
      inner = computations[called(user, 'calls')]
      number = user.operands.index(name)
      read += _read(_parameter(inner, number), inner, computations)
    elif user.opcode != 'dynamic-update-slice' or user.operands[0] != name:
      return math.inf
  return read


def _flops(
  op: Instruction,
  computation: Computation,
  computations: Mapping[str, Computation],
) -> float:
  if op.opcode == 'fusion':
    body = computations[called(op, 'calls')]
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
