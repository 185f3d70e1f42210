"""Chips, as their makers describe them, and the peak of those in use."""

from typing import Any, NamedTuple

from jax.sharding import Mesh

GIB = 2**30


class Chip(NamedTuple):
  """A TPU chip.

  flops: per second in bfloat16. bandwidth: of the main memory, bytes a second.
  links: of the connections to other chips together, bytes a second one way.
  """

  accelerator: str  # the name that libtpu knows, before the number of cores
  flops: float
  memory: float
  bandwidth: float
  links: float


# Source: docs.cloud.google.com/tpu/docs, pages v5e, v5p and v6e, read in
# 2026-11; those of v4 are from memory.
CHIPS = {
  'v4': Chip('v4', 275e12, 32 * GIB, 1200e9, 300e9),
  'v5e': Chip('v5litepod', 197e12, 16 * GIB, 819e9, 200e9),
  'v5p': Chip('v5p', 459e12, 95 * GIB, 2765e9, 600e9),
  'v6e': Chip('v6e', 918e12, 32 * GIB, 1638e9, 400e9),
}

# `device_kind` of jax -> peak FLOP/s in bfloat16, without sparsity. Those of
# GPUs are from NVIDIA's data sheets, from memory.
_PEAKS = {
  'TPU v4': CHIPS['v4'].flops,
  'TPU v5 lite': CHIPS['v5e'].flops,
  'TPU v5': CHIPS['v5p'].flops,
  'TPU v5p': CHIPS['v5p'].flops,
  'TPU v6 lite': CHIPS['v6e'].flops,
  'NVIDIA A100-SXM4-40GB': 312e12,
  'NVIDIA A100-SXM4-80GB': 312e12,
  'NVIDIA H100 80GB HBM3': 989e12,
  'NVIDIA H200': 989e12,
}


def peak_flops(mesh: Mesh) -> float | None:
  """Returns the FLOP/s of all chips of a mesh at their peak, if it is known."""
  kinds: list[Any] = [device.device_kind for device in mesh.devices.flat]
  if not all(kind in _PEAKS for kind in kinds):
    return None
  return sum(_PEAKS[kind] for kind in kinds)
