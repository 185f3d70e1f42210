"""Costs of compiled programs against XLA's own count and closed forms."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxdiff import hlo, parallel


def compiled(function, *shapes, **options):
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return jax.jit(function, **options).lower(*arrays).compile()


def costs(program):
  return hlo.costs(program.as_text())


def test_the_body_of_a_loop_counts_as_often_as_it_runs():
  block = lambda x, w: (jnp.tanh(x @ w), None)

  def looped(w, x):
    return jax.lax.scan(block, x, w)[0]

  def unrolled(w, x):
    for i in range(len(w)):
      x, _ = block(x, w[i])
    return x

  shapes = (5, 64, 64), (32, 64)
  programs = [compiled(f, *shapes) for f in (looped, unrolled)]
  loop, flat = map(costs, programs)
  assert loop.flops == flat.flops == 5 * 2 * 32 * 64 * 64
  # XLA's own count sees one turn of the loop, and all of the unrolled one.
  known = programs[1].cost_analysis()['bytes accessed']
  assert flat.bytes == known
  assert loop.bytes == pytest.approx(known, rel=0.05)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
def test_the_zeros_of_a_convolution_do_not_count(stride, padding):
  def convolve(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      padding,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )

  program = compiled(convolve, (2, 9, 12, 8), (3, 3, 8, 16))
  assert costs(program).flops == program.cost_analysis()['flops']


def test_collectives_are_counted_with_their_size():
  mesh = parallel.make_mesh()
  where = NamedSharding(mesh, PartitionSpec('data'))
  program = compiled(
    lambda x: x.sum(0),
    (16, 256),
    in_shardings=where,
    out_shardings=NamedSharding(mesh, PartitionSpec()),
  )
  # A ring of eight sends seven eighths of the array, twice.
  found = costs(program).collectives
  assert found == {'all-reduce': (1, 2 * 7 / 8 * 256 * 4)}
  gather = compiled(
    lambda x: x * 2,
    (16, 256),
    in_shardings=where,
    out_shardings=NamedSharding(mesh, PartitionSpec()),
  )
  # Each has an eighth of the array, and sends it on for seven others.
  found = costs(gather).collectives
  assert found == {'all-gather': (1, 7 / 8 * 16 * 256 * 4)}


@pytest.mark.parametrize(
  'kind, groups, passes',
  [
    ('all-gather', '{{0,1,2,3},{4,5,6,7}}', 3),
    ('all-gather', '[2,4]<=[4,2]T(1,0)', 3),
    ('all-gather', "mesh['data'=2,'fsdp'=4] {'fsdp'}", 3),
    ('reduce-scatter', '[2,4]<=[8]', 3 / 4),
    ('all-reduce', '{}', 2 * 15 / 16),
    ('collective-permute', '{}', 1),
  ],
)
def test_a_ring_is_of_the_devices_of_a_group(kind, groups, passes):
  text = f"""HloModule step, num_partitions=16

ENTRY %main (x: f32[8,128]) -> f32[8,128] {{
  %x = f32[8,128]{{1,0}} parameter(0)
  ROOT %y = f32[8,128]{{1,0}} {kind}(%x), replica_groups={groups}
}}
"""
  sent = passes * 8 * 128 * 4
  assert hlo.costs(text).collectives == {kind: (1, sent)}


def test_a_fused_collective_counts_once():
  """As a TPU has them: a reduce-scatter, and a gather cut into two parts."""
  fused = """%NAME (p: f32[8,128]) -> f32[8,128] {
  %p = f32[8,128]{1,0} parameter(0)
  ROOT %y = f32[8,128]{1,0} KIND(%p), channel_id=N, replica_groups=[4,4]<=[16]
}
"""
  text = 'HloModule step, num_partitions=16\n\n'
  for name, kind, channel in (
    ('all-reduce-scatter.1', 'all-reduce', 1),
    ('part.1', 'all-gather', 2),
    ('part.2', 'all-gather', 2),
  ):
    found = fused.replace('NAME', name).replace('KIND', kind)
    text += found.replace('=N', f'={channel}')
  fusion = 'f32[8,128]{1,0} fusion(%x), kind=kCustom, calls=%'
  text += f"""ENTRY %main (x: f32[8,128]) -> f32[8,128] {{
  %x = f32[8,128]{{1,0}} parameter(0)
  %a = {fusion}all-reduce-scatter.1
  %b = {fusion}part.1
  ROOT %c = {fusion}part.2
}}
"""
  size = 8 * 128 * 4
  found = hlo.costs(text).collectives
  assert found == {
    'reduce-scatter': (1, 3 / 4 * size),
    'all-gather': (1, 3 * size),
  }


TPU = """HloModule step, num_partitions=16

%fused (p.0: bf16[8,128], p.1: f32[4,8,128], p.2: s32[]) -> bf16[8,128] {
  %p.0 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %p.1 = f32[4,8,128]{2,1,0:T(8,128)} parameter(1)
  %p.2 = s32[]{:T(128)} parameter(2)
  %c.0 = s32[]{:T(128)} constant(0)
  %d.0 = f32[1,8,128]{2,1,0:T(8,128)} dynamic-slice(%p.1, %p.2, %c.0, %c.0)
  ROOT %a.0 = bf16[8,128]{1,0:T(8,128)(2,1)} add(%p.0, %d.0)
}

ENTRY %main (x: bf16[8,128], w: f32[4,8,128], i: s32[]) -> bf16[3,128] {
  %x = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  %w = f32[4,8,128]{2,1,0:T(8,128)} parameter(1)
  %i = s32[]{:T(128)S(6)} parameter(2)
  %s = (f32[4,8,128]{2,1,0:T(8,128)S(1)}, f32[4,8,128]{2,1,0}) copy-start(%w)
  %e = f32[4,8,128]{2,1,0:T(8,128)S(1)} copy-done(%s)
  %f = bf16[8,128]{1,0:S(1)} fusion(%x, %w, %i), kind=kLoop, calls=%fused
  ROOT %r = bf16[3,128]{1,0:T(8,128)(2,1)} copy(%f)
}
"""


def test_on_a_tpu_only_main_memory_is_traffic():
  # The copy to the chip reads w. The fusion reads one slice of it. The result
  # is written as a whole tile of 8 rows. The rest stays on the chip.
  w, row, tile = 4 * 8 * 128 * 4, 8 * 128 * 4, 8 * 128 * 2
  assert hlo.costs(TPU).bytes == w + row + tile


IN_PLACE = """HloModule step

%slice (p.0: f32[4,8,128], p.1: s32[]) -> f32[8,128] {
  %p.0 = f32[4,8,128]{2,1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  %c.0 = s32[] constant(0)
  %d.0 = f32[1,8,128]{2,1,0} dynamic-slice(%p.0, %p.1, %c.0, %c.0)
  ROOT %b.0 = f32[8,128]{1,0} bitcast(%d.0)
}

%both (q.0: f32[4,8,128], q.1: s32[], q.2: f32[8,128], q.3: f32[4,8,128]) -> (f32[4,8,128], f32[8,128]) {
  %q.0 = f32[4,8,128]{2,1,0} parameter(0)
  %q.1 = s32[] parameter(1)
  %q.2 = f32[8,128]{1,0} parameter(2)
  %q.3 = f32[4,8,128]{2,1,0} parameter(3)
  %k.0 = s32[] constant(0)
  %b.1 = f32[1,8,128]{2,1,0} bitcast(%q.2)
  %u.0 = f32[4,8,128]{2,1,0} dynamic-update-slice(%q.0, %b.1, %q.1, %k.0, %k.0)
  %f.0 = f32[8,128]{1,0} fusion(%q.3, %q.1), kind=kLoop, calls=%slice
  ROOT %t.0 = (f32[4,8,128]{2,1,0}, f32[8,128]{1,0}) tuple(%u.0, %f.0)
}

ENTRY %main (x: f32[8,128], w: f32[4,8,128], i: s32[]) -> (f32[4,8,128], f32[8,128]) {
  %x = f32[8,128]{1,0} parameter(0)
  %w = f32[4,8,128]{2,1,0} parameter(1)
  %i = s32[] parameter(2)
  %a = f32[4,8,128]{2,1,0} custom-call(), custom_call_target="AllocateBuffer"
  ROOT %r = (f32[4,8,128]{2,1,0}, f32[8,128]{1,0}) fusion(%a, %i, %x, %w), kind=kLoop, calls=%both
}
"""  # noqa: E501 - lines as XLA prints them


def test_a_fusion_updates_in_place_and_reads_slices():
  # x is written into a row of a; a row of w, sliced within, is copied.
  scalar = 4
  assert hlo.costs(IN_PLACE).bytes == 4 * 8 * 128 * 4 + scalar


def test_a_loop_without_a_bound_is_refused():
  program = compiled(
    lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ x, x),
    (4, 4),
  )
  with pytest.raises(ValueError, match='does not say how often it runs'):
    costs(program)
