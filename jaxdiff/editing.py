"""Editing: SDEdit, inpainting, RePaint and interpolation with any model.

  img2img       sample(step, denoiser, keys, *sdedit(process, ..., strength))
  inpainting    sample(inpaint(step, process, x0, mask), ...), and RePaint with
                resample(step, schedule) within and repaint_times(...)
  interpolation slerp between two images run up to pure noise, run down again

No model is trained for this. x0 is what is edited, in the data's range, [B,
...]: each example has its own, and its own key.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.processes import Process, forward_variance
from jaxdiff.samplers import Denoiser, Solver, Step, encode, euler, sample
from jaxdiff.samplers.sampling import as_solver
from jaxdiff.samplers.stochastic import noise, split
from jaxdiff.schedules import Schedule


def sdedit(
  process: Process, keys: Array, x0: Any, times: ArrayLike, strength: float
) -> tuple[Any, np.ndarray]:
  """Builds the start of SDEdit: x0 noised to t = strength, and its times.

  The more noise, the less is left of x0: strength 1 draws free samples, 0
  returns x0 (with the noise of t = 0, none or next to none).

  Args:
    keys: [B], not those of `sample`.
    x0: [B, ...] what is edited: another image, a drawing, a collage.
    times: of `samplers.grids`, decreasing to t = 0.
    strength: in [0, 1], the t to start from, but not before times[0].

  Returns:
    (xt [B, ...], the start and the times below it), for `sample`.

  Source: SDEdit (Meng et al. 2022) algorithm 1.
  """
  number('strength', strength, '[0, 1]')
  times = np.asarray(times, np.float32)
  start = np.minimum(np.float32(strength), times[0])
  xt = jax.vmap(process.corrupt, in_axes=(0, 0, None))(keys, x0, start)
  return xt, np.append(start, times[times < start])


def inpaint(
  step: Step | Solver, process: Process, x0: Array, mask: ArrayLike
) -> Solver:
  """Builds a step of any kind, after which the known data is put in its place.

  The known part of xs is a draw of q(xs | x0), with new noise each time, and at
  t = 0 it is x0 itself. The rest comes from the step, which sees the known
  part, but only as noisy as it is itself: the two agree less than they should.
  `resample` mends that.

  Args:
    step: e.g. `samplers.ddim(schedule)`.
    x0: [B, ...] the known data; where masked, anything.
    mask: true where data is to be made; of a shape that broadcasts with x0's.

  Source: score SDE (Song et al. 2021) appendix I.2, imputation.
  """
  solver = as_solver(step)
  corrupt = jax.vmap(process.corrupt, in_axes=(0, 0, None))

  def inpainted(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array, state: Any
  ) -> tuple[Array, Any]:
    noise_keys, step_keys = split(keys)
    xs, state = solver.step(denoiser, step_keys, xt, t, s, state)
    known = jnp.where(s > 0, corrupt(noise_keys, x0, s), x0)
    return jnp.where(mask, xs, known), state

  return Solver(solver.init, inpainted)


def resample(step: Step | Solver, schedule: Schedule) -> Solver:
  """Builds a step for times that also go up: from t to s > t by adding noise.

    xs = (alpha_s / alpha_t) xt + sqrt(var) z,   var that of q(xs | xt)

  No step down can correct the last one; going up and down again can, and with
  `inpaint` around it both parts of an image come to agree. A solver with a
  memory begins anew after a step up.

  Source: RePaint (Lugmayr et al. 2022) algorithm 1.
  """
  solver = as_solver(step)

  def resampled(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array, state: Any
  ) -> tuple[Array, Any]:
    def up(xt: Array, state: Any) -> tuple[Array, Any]:
      scale = schedule(s).alpha / schedule(t).alpha
      var = jnp.maximum(forward_variance(schedule, s, t), 0.0)
      xs = scale * xt + jnp.sqrt(var) * noise(keys, xt)
      return xs, solver.init(xs)

    down = lambda xt, state: solver.step(denoiser, keys, xt, t, s, state)
    return jax.lax.cond(s > t, up, down, xt, state)

  return Solver(solver.init, resampled)


def repaint_times(
  times: ArrayLike, jump: int = 10, repeats: int = 10
) -> np.ndarray:
  """Builds RePaint's times: down `jump` steps, back up, and down again.

  Each stretch of `jump` steps is walked `repeats` times; 1 leaves the times as
  they are. The way up is one step: the same noise as of many. A long jump is
  needed to change what is coarse, a short one to leave the known part clean.

  Args:
    times: [N + 1] decreasing, e.g. `samplers.uniform_times(250)`.
    jump: steps in a stretch; 1 in the paper's algorithm, 10 in its experiments.
    repeats: of each stretch.

  Returns:
    [N + (repeats - 1) (N + ceil(N / jump)) + 1] float32.

  Source: RePaint (Lugmayr et al. 2022) section 4.2, appendix B.
  """
  whole('jump', jump, 1)
  whole('repeats', repeats, 1)
  times = np.asarray(times, np.float32)
  walk = [times[:1]]
  for first in range(0, len(times) - 1, jump):
    stretch = times[first : first + jump + 1]
    walk += [stretch[1:]] + [stretch] * (repeats - 1)
  return np.concatenate(walk)


def slerp(a: Array, b: Array, weight: ArrayLike) -> Array:
  """Interpolates from a, at weight 0, to b, at 1, along the great circle. [...]

    (sin((1 - w) theta) a + sin(w theta) b) / sin theta

  A straight line between two draws of noise passes through points of too small
  a norm, where no noise is. a and b, of about the same norm, must not be
  opposite; where they are parallel it is the straight line.

  Source: DDIM (Song et al. 2021) eq. 67; Shoemake 1985.
  """
  cosine = jnp.sum(a * b) / jnp.sqrt(jnp.sum(a**2) * jnp.sum(b**2))
  theta = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
  parallel = theta < 1e-3
  theta = jnp.where(parallel, 1.0, theta)
  part = lambda w: jnp.where(parallel, w, jnp.sin(w * theta) / jnp.sin(theta))
  return part(1.0 - weight) * a + part(weight) * b


def interpolate(
  schedule: Schedule,
  denoiser: Denoiser,
  a: Array,
  b: Array,
  weights: Array,
  times: ArrayLike,
  iterations: int = 1,
) -> Array:
  """Interpolates between two images: encoding, slerp, decoding. [B, ...]

  Weights 0 and 1 give a and b back as well as the encoding is undone, see
  `samplers.encode`. No noise is drawn.

  Args:
    denoiser: must serve any number of examples.
    a, b: [...] the two, without a batch.
    weights: [B] in [0, 1], how far from a each image is.
    times: [N + 1] decreasing to t = 0, alpha > 0 at times[0].
    iterations: of each step of the encoding.

  Raises:
    ValueError: alpha is 0 at times[0], where every image has the same code.

  Source: DDIM (Song et al. 2021) section 5.3, 5.4, appendix D.5.
  """
  times = np.asarray(times, np.float32)
  # Known while building, under jit too.
  with jax.ensure_compile_time_eval():
    no_signal = float(schedule(times[0]).alpha) == 0
  if no_signal:
    raise ValueError(
      f'at t = {times[0]:g} this schedule has no signal left, and no image '
      'differs from another: begin later, at times[1:] or with leading '
      'times'
    )
  ends = jnp.stack([a, b])
  # `sample` wants keys; these two solvers draw nothing.
  keys = lambda num: jax.random.split(jax.random.key(0), num)
  codes = sample(
    encode(schedule, iterations), denoiser, keys(2), ends, times[::-1]
  )
  between = jax.vmap(lambda w: slerp(codes[0], codes[1], w))(weights)
  return sample(euler(schedule), denoiser, keys(len(weights)), between, times)
