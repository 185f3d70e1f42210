"""Roofline: the least time of a compiled program on a chip, and its memory.

Source: Williams et al. 2009, "Roofline".
"""

from collections.abc import Iterator
from typing import NamedTuple

from jaxdiff import hlo
from jaxdiff.config import Config
from jaxdiff.parallel.chips import GIB, Chip


class Plan(NamedTuple):
  """Memory and costs of a step, or of sampling a batch, on each chip."""

  memory: dict[str, float]  # bytes by use
  costs: hlo.Costs
  subject: str = 'a step'


def report(config: Config, chip: Chip, num: int, plan: Plan) -> Iterator[str]:
  """Yields the lines of a plan for people."""
  c, costs = config.training, plan.costs
  total = sum(plan.memory.values())
  yield f'memory of a chip, of {chip.memory / GIB:.0f} GiB'
  for name, size in plan.memory.items():
    if size:
      yield f'  {name:12} {size / GIB:8.3f} GiB'
  fits = 'fits' if total <= chip.memory else 'DOES NOT FIT'
  yield f'  {"together":12} {total / GIB:8.3f} GiB: {fits}'
  times = {
    'arithmetic': costs.flops / chip.flops,
    'memory': costs.bytes / chip.bandwidth,
  }
  yield f'least times of {plan.subject}'
  yield (
    f'  arithmetic   {1e3 * times["arithmetic"]:8.2f} ms: '
    f'{costs.flops / 1e12:.3f} TFLOP at {chip.flops / 1e12:.0f} TFLOP/s'
  )
  yield (
    f'  memory       {1e3 * times["memory"]:8.2f} ms: '
    f'{costs.bytes / 1e9:.2f} GB at {chip.bandwidth / 1e9:.0f} GB/s'
  )
  for kind, (count, size) in costs.collectives.items():
    seconds = size / chip.links
    times['collectives'] = times.get('collectives', 0.0) + seconds
    yield (
      f'  {kind:12} {1e3 * seconds:8.2f} ms: {count} send {size / 1e6:.1f} MB '
      f'at {chip.links / 1e9:.0f} GB/s'
    )
  bound = max(times, key=lambda name: times[name])
  yield (
    f'{plan.subject} takes at least {1e3 * times[bound]:.2f} ms, bound by '
    f'{bound}: {c.batch_size / times[bound]:,.0f} examples/s on {num} chips'
  )
