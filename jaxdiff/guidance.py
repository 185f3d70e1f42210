"""Guidance and thresholds: Denoiser -> Denoiser.

Whatever changes the estimate of x0 before a sampler uses it wraps the denoiser,
and wrappers go around one another. With c the estimate under the condition and
u the one without, classifier-free guidance is

  u + scale (c - u).

Since the score of xt is (alpha x0 - xt) / sigma^2, this estimate has the score
of p(xt)^(1 - scale) p(xt | cond)^scale, at each level of noise. c and u are one
network with two conditions: the wanted one and the null one (or another, a
negative prompt).

Scales, thresholds and intervals may be traced: changing one never recompiles.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.samplers import Denoiser, Solver, Step, sampling
from jaxdiff.schedules import Schedule


def classifier_free(
  cond: Denoiser,
  uncond: Denoiser,
  scale: ArrayLike,
  channels: int | None = None,
) -> Denoiser:
  """Builds classifier-free guidance u + scale (c - u).

  Scale 0 forgets the condition, 1 is `cond` itself; the paper's w is scale - 1.
  The same combination of eps, of v or of scores gives the same, all being
  linear in x0. Logits of categories, or a dict of them, are guided alike.

  Args:
    channels: How many are guided (None: all), 3 of 4 in DiT's code. The rest
      are those of `cond`.

  Example:
    >>> from jaxdiff import guidance
    >>> cond, uncond = lambda xt, t: xt + 1.0, lambda xt, t: xt
    >>> guidance.classifier_free(cond, uncond, 3.0)(10.0, 0.5)
    13.0

  Source: Ho & Salimans 2022 eq. 6.
  """
  number('scale', scale, '(-inf, inf)')
  if channels is not None:
    whole('channels', channels, 1)

  def guide(u: Array, c: Array) -> Array:
    x0 = u + scale * (c - u)
    if channels is None:
      return x0
    whole('channels', channels, 1, x0.shape[-1])
    return jnp.concatenate([x0[..., :channels], c[..., channels:]], axis=-1)

  def guided(xt: Any, t: Array) -> Any:
    return jax.tree.map(guide, uncond(xt, t), cond(xt, t))

  return guided


def autoguidance(good: Denoiser, bad: Denoiser, scale: ArrayLike) -> Denoiser:
  """Builds autoguidance: a model guided by a worse version of itself.

  bad + scale (good - bad), as `classifier_free`, with the same task and
  condition and `bad` smaller or trained for less.

  Source: Karras et al. 2024, "Guiding a diffusion model with a bad version of
  itself", eq. 3.
  """
  return classifier_free(good, bad, scale)


def limited_interval(
  guided: Denoiser, plain: Denoiser, low: ArrayLike, high: ArrayLike
) -> Denoiser:
  """Builds guidance for low < t <= high, and the plain denoiser elsewhere.

  Early guidance costs variety, late guidance does nothing: where no t of a
  batch is inside, `guided` is not evaluated. The paper's bounds are noise
  levels sigma / alpha; the t of one is `schedules.inverse(schedule, -2
  log(level))`.

  Source: Kynkaanniemi et al. 2024, "Applying guidance in a limited interval",
  eq. 6.
  """
  number('low', low, '(-inf, inf)')
  number('high', high, '(-inf, inf)')
  if not isinstance(low, jax.Array):
    number('high', high, f'({low}, inf)')

  def limited(xt: Any, t: Array) -> Any:
    inside = (low < t) & (t <= high)
    choose = lambda g, p: jnp.where(_beside(inside, g), g, p)
    return jax.lax.cond(
      jnp.any(inside),
      lambda: jax.tree.map(choose, guided(xt, t), plain(xt, t)),
      lambda: plain(xt, t),
    )

  return limited


def rescaled(
  guided: Denoiser, cond: Denoiser, phi: ArrayLike = 0.7
) -> Denoiser:
  """Builds rescaled guidance: without the contrast that guidance adds.

    x (phi std(c) / std(x) + 1 - phi),

  x the guided estimate, standard deviations over one example: phi = 1 has the
  deviation of c, phi = 0 is x itself. The paper takes them over the network's
  v; here, as everywhere in this file, over the estimates of x0.

  Source: Lin et al. 2024, "Common diffusion noise schedules and sample steps
  are flawed", eq. 14 to 16.
  """
  number('phi', phi, '[0, 1]')

  def rescale(xt: Array, t: Array) -> Array:
    x0 = guided(xt, t)
    std = lambda x: jnp.std(x, axis=_dims(x), keepdims=True)
    size = std(x0)
    # A constant example has no contrast to correct.
    ratio = jnp.where(size > 0, std(cond(xt, t)) / _nonzero(size), 1.0)
    return x0 * (phi * ratio + 1.0 - phi)

  return rescale


def apg(
  cond: Denoiser,
  uncond: Denoiser,
  scale: ArrayLike,
  eta: ArrayLike = 0.0,
  threshold: ArrayLike = math.inf,
  past: ArrayLike = 0.0,
) -> Denoiser:
  """Builds adaptive projected guidance: little of what only saturates.

  With d = c - u + past, first shortened to the norm `threshold` if it is
  longer, and d_c the part of it along c, over one example,

    c + (scale - 1) (d - d_c + eta d_c).

  eta = 1 with no threshold is `classifier_free`.

  Args:
    cond, uncond, scale: as in `classifier_free`.
    eta: the fraction kept along c.
    threshold: of the Euclidean norm of d, so it grows with the data's size; the
      paper has 2.5 to 15, for latents and 64x64 images.
    past: [B, ...] the part of the last steps' d that `momentum` keeps.

  Source: Sadat et al. 2024, "Eliminating oversaturation and artifacts of high
  guidance scales in diffusion models", algorithm 1.
  """
  number('scale', scale, '(-inf, inf)')
  number('eta', eta, '[0, inf)')
  number('threshold', threshold, '(0, inf]')

  def guided(xt: Array, t: Array) -> Array:
    c = cond(xt, t)
    total = lambda x: jnp.sum(x, axis=_dims(x), keepdims=True)
    d = c - uncond(xt, t) + past
    norm = jnp.sqrt(total(d**2))
    d *= jnp.minimum(1.0, threshold / _nonzero(norm))
    along = total(d * c) / _nonzero(total(c**2)) * c
    return c + (scale - 1.0) * (d - along + eta * along)

  return guided


def momentum(
  step: Step | Solver,
  cond: Denoiser,
  uncond: Denoiser,
  guide: Callable[[Array], Denoiser],
  beta: ArrayLike = -0.5,
) -> Solver:
  """Builds a step whose guidance remembers: d <- c - u + beta d.

  The denoiser that `sample` is given is not used.

  Args:
    step: of any kind.
    cond, uncond: c and u; evaluated at xt once more where the compiler does not
      see that it is the same.
    guide: past -> the guided denoiser, such as lambda past: `apg(cond, uncond,
      scale, past=past)`.
    beta: the part of the last d that is kept; negative pushes away from where
      guidance went before. May be traced.

  Source: Sadat et al. 2024 (`apg`) section 4, "reverse momentum".
  """
  number('beta', beta, '(-1, 1)')
  solver = sampling.as_solver(step)

  def remembering(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array, state: Any
  ) -> tuple[Array, Any]:
    del denoiser
    inner, d = state
    past = beta * d
    xs, inner = solver.step(guide(past), keys, xt, t, s, inner)
    time = jnp.broadcast_to(t, xt.shape[:1])
    return xs, (inner, cond(xt, time) - uncond(xt, time) + past)

  return Solver(lambda x: (solver.init(x), jnp.zeros_like(x)), remembering)


def classifier_gradient(
  denoiser: Denoiser,
  log_prob: Callable[[Array, Array], Array],
  scale: ArrayLike,
  schedule: Schedule,
) -> Denoiser:
  """Builds classifier guidance, by the gradient of a classifier of noisy data.

    x0 + scale (sigma^2 / alpha) grad log p(y | xt),

  which for scale 1 and the exact classifier is E[x0 | xt, y]. Where alpha is 0
  the gradient is 0 too: the estimate stays as it is.

  Args:
    denoiser: estimates x0, unconditionally.
    log_prob: (xt [B, ...], t [B]) -> log p(y | xt) [B] in nats, each from its
      own example.
    scale: more than 1 for the paper's sharpened p(y | xt)^scale.

  Source: Dhariwal & Nichol 2021 algorithm 2.
  """
  number('scale', scale, '(-inf, inf)')

  def guided(xt: Array, t: Array) -> Array:
    # Examples do not mix, so the gradient of the sum is that of each.
    gradient = jax.grad(lambda xt: jnp.sum(log_prob(xt, t)))(xt)
    alpha, sigma = schedule(t)
    gain = jnp.where(alpha > 0, sigma**2 / _nonzero(alpha), 0.0)
    return denoiser(xt, t) + scale * _beside(gain, xt) * gradient

  return guided


def unchanged(denoiser: Denoiser) -> Denoiser:
  """Returns the denoiser as it is: no threshold."""
  return denoiser


def clip(denoiser: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
  """Clips the estimate of x0 to the data's range. (DDPM, official code.)"""
  number('low', low, '(-inf, inf)')
  number('high', high, f'({low}, inf)')
  return lambda xt, t: jnp.clip(denoiser(xt, t), low, high)


def dynamic_threshold(
  denoiser: Denoiser, quantile: ArrayLike = 0.995
) -> Denoiser:
  """Clips each estimate at a quantile of its own size, then scales it back.

  With p the quantile of |x0| over one example and c = max(p, 1), x0 <- clip(x0,
  -c, c) / c: strong guidance does not saturate data in [-1, 1].

  Source: Imagen (Saharia et al. 2022) section 2.3.
  """
  number('quantile', quantile, '(0, 1]')

  def thresholded(xt: Array, t: Array) -> Array:
    x0 = denoiser(xt, t)
    size = jnp.quantile(jnp.abs(x0), quantile, axis=_dims(x0), keepdims=True)
    size = jnp.maximum(size, 1.0)
    return jnp.clip(x0, -size, size) / size

  return thresholded


def _dims(x: Array) -> tuple[int, ...]:
  """The axes of one example."""
  return tuple(range(1, x.ndim))


def _beside(each: Array, x: Array) -> Array:
  """Reshapes [B] to broadcast with x [B, ...]."""
  return each.reshape(each.shape + (1,) * (x.ndim - 1))


def _nonzero(x: Array) -> Array:
  # To divide by where it does not matter: 0 / 0 must not become nan.
  return jnp.where(x == 0, 1.0, x)
