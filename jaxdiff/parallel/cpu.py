"""XLA's settings for a CPU; docs/performance.md has the numbers.

Its memory is in `jaxdiff.malloc`.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import jax

from jaxdiff import malloc

SHORT = 0.1  # seconds: after a longer step a pause does not show

CONVOLUTIONS = '--xla_cpu_experimental_ynn_fusion_type=-individual_convolution'
LEVEL = '--xla_backend_optimization_level=1'


def divide_convolutions() -> None:
  """Adds `CONVOLUTIONS` to XLA_FLAGS, unless the flag is there.

  Eigen then computes convolutions, on all threads. The library that XLA prefers
  keeps all but the widest to one thread with jax 0.10.2, and with 0.12 takes up
  to half as long again in a large batch. The flag is experimental, and XLA ends
  a process that has one it does not know: only jax 0.10 to 0.12.0 get it.

  Call it before anything is computed: XLA reads its flags once.
  """
  if (0, 10) <= jax.__version_info__[:3] <= (0, 12, 0):
    _add_flag(CONVOLUTIONS)


def compile_quickly() -> None:
  """Adds `LEVEL` to XLA_FLAGS on a CPU, unless the flag is there.

  LLVM's higher levels of optimisation made no step that was timed faster, and
  compiling a wide network two thirds longer. With an accelerator the flag would
  mean another compiler.

  Call it before anything is computed.
  """
  if malloc.cpu_alone(jax.config.jax_platforms):
    _add_flag(LEVEL)


def one_at_a_time(step: Callable[..., Any]) -> Callable[..., Any]:
  """(state, ...) -> (state, ...), called when the state it is given is there.

  XLA allocates a step's buffers as soon as it can: two steps under way would
  both have theirs.
  """
  called = 0.0

  def call(state: Any, *args: Any) -> Any:
    nonlocal called
    jax.block_until_ready(state)
    # Another thread frees the buffers just after, and may wait for this core.
    if time.monotonic() - called > SHORT:
      time.sleep(SHORT / 100)
    called = time.monotonic()
    return step(state, *args)

  return call


def _add_flag(flag: str) -> None:
  flags = os.environ.get('XLA_FLAGS', '')
  if flag.split('=')[0] not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} {flag}'.strip()
