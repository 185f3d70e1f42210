"""Sampling of categories: temperature, infilling and blocks around `sample`.

`samplers.ancestral(process)` is the sampler, for every process; with
`processes.remasked` it corrects itself, and `unmasking` has steps that choose
which masks to lift.

`guidance.classifier_free` serves as it is: u + scale (c - u) on logits is the
distribution p(x0 | xt)^(1 - scale) p(x0 | xt, cond)^scale, normalised, element
by element (logits must be finite). Scales and temperatures may be traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.predictions import Apply
from jaxdiff.samplers.sampling import Denoiser, Solver, Step, as_solver, sample


def denoiser(apply: Apply, params: Any, cond: Any = None) -> Denoiser:
  """Builds a Denoiser of a network: its logits, as they are.

  cond has 'mask' [B, ...] where training had one.
  """
  return lambda xt, t: apply(params, xt, t, cond or {})


def temperature(denoiser: Denoiser, value: ArrayLike) -> Denoiser:
  """Builds logits / value: below 1 the likely becomes likelier.

  Near 0 the likeliest is always drawn.
  """
  number('value', value, '(0, inf)')
  return lambda xt, t: jax.tree.map(lambda x: x / value, denoiser(xt, t))


def hold(step: Step | Solver, x0: Any, known: Any) -> Solver:
  """Builds a step that leaves known elements as they are: infilling.

  `place` writes them into the start. Under absorbing noise this is exact: what
  is not masked is x0, so a start with some elements written is a state like any
  other, and the model has learnt the distribution of the rest given any of
  them. Under noise that redraws it is not, for there xt should be noisy where
  it is known, too: take `editing.inpaint(step, process, x0, mask)`. Under any
  noise it keeps elements that do not exist as they were in training.

  Args:
    x0: [B, ...] or a tree; where not known, anything.
    known: bool, a tree like x0, of shapes that broadcast with its.
  """
  solver = as_solver(step)

  def held(
    denoiser: Denoiser, keys: Array, xt: Any, t: Array, s: Array, state: Any
  ) -> tuple[Any, Any]:
    xs, state = solver.step(denoiser, keys, xt, t, s, state)
    return place(xs, x0, known), state

  return Solver(solver.init, held)


def place(x: Any, x0: Any, known: Any) -> Any:
  """Writes x0 into x where it is known: the start of infilling."""
  return jax.tree.map(jnp.where, known, x0, x)


class Memory(NamedTuple):
  """Written blocks as a network keeps them, so that none is computed again."""

  kept: Any  # of no block
  write: Callable[[Any, Array, Array], Any]  # (kept, block, first) -> kept


def sample_blocks(
  step: Step | Solver,
  denoiser: Denoiser,
  keys: Array,
  x_init: Array,
  times: ArrayLike,
  size: int,
  known: Array | None = None,
  trajectory: bool = False,
  memory: Memory | None = None,
  reading: Callable[[Any, Array], Denoiser] | None = None,
) -> Array:
  """Samples block after block from the left; the last may be shorter.

  The step is given a block alone, and the denoiser that block in its place
  among the others: the text to the left is written, to the right still noise.
  So t is the time of the block, and a step that chooses what to unmask chooses
  within it: for absorbing noise and a network that does not depend on t.

  Args:
    step, denoiser, trajectory: as in `sample`; the denoiser sees the whole of
      x.
    keys: [B] one for each sample; block n uses fold_in(key, n).
    x_init: [B, L] at times[0].
    times: [N + 1] decreasing, for each block.
    size: elements in a block; L is `sample` itself, 1 is autoregressive.
    known: bool [B, L], what stays as it is in x_init (`hold`).
    memory, reading: of a network for which blocks to the right do not exist:
      (kept, first) -> the Denoiser of the block at `first` alone.

  Returns:
    x [B, L] at times[-1]; with `trajectory`, [blocks N + 1, B, L], x_init
    first.

  Source: SSD-LM (Han et al. 2023) algorithm 2; block diffusion (Arriola et al.
  2025) algorithm 2; with `surest_first`, the semi-autoregressive sampling of
  LLaDA (Nie et al. 2025).
  """
  whole('size', size, 1)
  length = x_init.shape[1]
  size = min(size, length)
  if known is None:
    known = jnp.zeros(x_init.shape, bool)

  def body(
    carry: tuple[Array, Any], n: Array
  ) -> tuple[tuple[Array, Any], Array | None]:
    x, kept = carry
    # A last block that is shorter begins among what is written already.
    first = jnp.minimum(n * size, length - size)
    cut = lambda x: jax.lax.dynamic_slice_in_dim(x, first, size, axis=1)
    put = lambda part: jax.lax.dynamic_update_slice_in_dim(x, part, first, 1)
    among = lambda part, t: cut(denoiser(put(part), t))
    if memory is not None:
      among = reading(kept, first)
    written = first + jnp.arange(size) < n * size
    held = hold(step, cut(x), cut(known) | written[None])
    block_keys = jax.vmap(lambda key: jax.random.fold_in(key, n))(keys)
    way = sample(held, among, block_keys, cut(x), times, trajectory=trajectory)
    if memory is not None:
      kept = memory.write(kept, way[-1] if trajectory else way, first)
    if not trajectory:
      return (put(way), kept), None
    way = jax.vmap(put)(way)
    return (way[-1], kept), way[1:]

  start = x_init, None if memory is None else memory.kept
  (x, _), ways = jax.lax.scan(body, start, jnp.arange(-(-length // size)))
  if not trajectory:
    return x
  return jnp.concatenate([x_init[None], ways.reshape(-1, *x.shape)])
