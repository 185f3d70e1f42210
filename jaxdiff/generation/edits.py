"""Edits of images in sample.py: img2img, inpaint, interpolate.

An Edit is (Parts, options, index [B]) -> images [B, H, W, C]. What is edited is
in `options`, [H, W, C] in [-1, 1]: traced, so that another image does not
recompile.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import editing, samplers
from jaxdiff.generation.sampler import Edit, Parts
from jaxdiff.models import Model


def img2img(strength: float) -> Edit:
  """Builds variations of 'image'; see `editing.sdedit`."""

  def edit(parts: Parts, options: Mapping[str, Array], index: Array) -> Array:
    start = editing.sdedit(
      parts.process,
      parts.prior_keys,
      _each(options['image'], index),
      parts.times,
      strength,
    )
    return samplers.sample(parts.step, parts.denoiser, parts.step_keys, *start)

  return edit


def inpaint(jump: int, repeats: int) -> Edit:
  """Builds RePaint: new content in 'image' where 'mask' [H, W, 1] is true.

  repeats = 1 is replacement alone; see `editing.repaint_times`.
  """

  def edit(parts: Parts, options: Mapping[str, Array], index: Array) -> Array:
    x0 = _each(options['image'], index)
    step = editing.inpaint(
      editing.resample(parts.step, parts.schedule),
      parts.process,
      x0,
      options['mask'][None],
    )
    prior = lambda key: parts.process.prior(key, x0.shape[1:])
    return samplers.sample(
      step,
      parts.denoiser,
      parts.step_keys,
      jax.vmap(prior)(parts.prior_keys),
      editing.repaint_times(parts.times, jump, repeats),
    )

  return edit


def fill() -> Edit:
  """Builds new content of a network that reads what stands beside xt."""

  def edit(parts: Parts, options: Mapping[str, Array], index: Array) -> Array:
    shape = options['image'].shape
    prior = jax.vmap(lambda key: parts.process.prior(key, shape))
    x = prior(parts.prior_keys)
    return samplers.sample(
      parts.step, parts.denoiser, parts.step_keys, x, parts.times
    )

  return edit


def beside(model: Model, image: Array, mask: Array) -> Array:
  """Computes a mask and the masked image, for a network that fills in.

  Args:
    model: of latents.
    image: [H, W, C] in [-1, 1].
    mask: bool [H, W, 1], true where new content comes.

  Returns:
    [h, w, 1 + c], the mask at the first pixel of each position, and latents.

  Raises:
    ValueError: Nothing of the mask is left.
  """
  encode = jax.jit(model.latents)
  latents = encode(jnp.where(mask, 0.0, image)[None], model.frozen)[0]
  step = len(mask) // len(latents)
  small = jnp.asarray(mask[::step, ::step], jnp.float32)
  if not small.any():
    raise ValueError(
      f'nothing of the mask is left at every {step}th pixel, which is what the '
      'network sees: draw wider strokes'
    )
  return jnp.concatenate([small, latents], axis=-1)


def interpolate(num: int, iterations: int = 10) -> Edit:
  """Builds an interpolation: image i is i / (num - 1) from 'image' to 'other'.

  By DDIM both ways, whatever the step; see `editing.interpolate`.
  """
  if num < 2:
    raise ValueError(
      f'an interpolation shows both ends: at least 2 images, got {num}'
    )

  def edit(parts: Parts, options: Mapping[str, Array], index: Array) -> Array:
    return editing.interpolate(
      parts.schedule,
      parts.denoiser,
      options['image'],
      options['other'],
      index / (num - 1),
      parts.times,
      iterations,
    )

  return edit


def in_latents(edit: Edit, model: Model) -> Edit:
  """Builds an edit of images by one of their latents.

  Images are encoded before, as the means of their latents, and decoded after.
  A position of latents is filled in if one of its pixels is; other pixels stay
  those of the image.
  """

  def edited(parts: Parts, options: Mapping[str, Any], index: Array) -> Array:
    frozen, given = options.get('frozen'), dict(options)
    for name in ('image', 'other'):
      if name in options:
        given[name] = model.latents(options[name][None], frozen)[0]
    if 'mask' not in options:
      return model.decode(edit(parts, given, index), frozen)
    image, mask = options['image'], options['mask']
    height, width, _ = given['image'].shape
    squares = mask.reshape(height, -1, width, mask.shape[1] // width, 1)
    given['mask'] = squares.any(axis=(1, 3))
    images = model.decode(edit(parts, given, index), frozen)
    return jnp.where(mask[None], images, image[None])

  return edited


def _each(image: Array, index: Array) -> Array:
  """Repeats an image for every sample."""
  return jnp.broadcast_to(image, (len(index), *image.shape))
