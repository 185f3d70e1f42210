"""The sampler: denoiser, guidance, grid and step put together."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import conditioning, edits, guidance, processes, samplers
from jaxdiff.build import categories
from jaxdiff.build.diffusion import make_schedule
from jaxdiff.build.model import (
  make_apply,
  make_denoiser,
  make_encode,
  make_network,
)
from jaxdiff.choices import (
  GRIDS,
  GUIDANCE,
  SAMPLERS,
  THRESHOLDS,
  Solving,
  make,
  name_of,
)
from jaxdiff.config import Config, Spec
from jaxdiff.losses import learned_variance

Options = Mapping[str, Any]
CASCADE = 1_000_003  # between the seeds of two stages


def make_sampler(
  config: Config,
  spec: Spec,
  *,
  edit: edits.Edit | None = None,
  trajectory: bool = False,
) -> Callable[..., Array]:
  """draw(params, options, index[B]) -> images [B, H, W, C] in [-1, 1], or of
  categories `categories.Drawn`.

  options, all traced, are those of `options`, with the images of an edit:
  image i depends on these and on i alone. With `trajectory`, all the xt on the
  way: [B, steps + 1, H, W, C]; not of an edit.
  """
  c = config.sampling
  network = make_network(config, spec)
  if categories.of_categories(config):
    if edit:
      raise ValueError('--edit is for images that are numbers')
    return categories.make_sampler(
      config,
      spec,
      make_apply(config, network),
      _guide(config),
      sample_keys,
      trajectory=trajectory,
    )
  schedule = make_schedule(config)
  process = processes.gaussian(schedule)
  grid = make(GRIDS, c.times, 'sampling.times', c.steps, schedule)
  threshold = lambda denoiser: make(
    THRESHOLDS, c.threshold, 'sampling.threshold', denoiser
  )
  # Only one step has a use for a learned variance.
  learned = config.diffusion.variance == 'learned'
  name = name_of(c.sampler, 'sampling.sampler')
  wide = learned and name == 'ancestral'
  variance = 'small' if learned and not wide else config.diffusion.variance
  make_step = lambda eta: make(
    SAMPLERS,
    c.sampler,
    'sampling.sampler',
    Solving(schedule, variance, eta, c.steps),
  )
  encode = make_encode(network)
  denoisers = make_denoiser(config, network)
  guide = _guide(config)
  prior = partial(process.prior, shape=tuple(spec.shape))
  # What is wrong is found while building.
  make_step(0.0)
  threshold(lambda xt, t: xt)
  guide(lambda xt, t: xt, lambda xt, t: xt, {'scale': 2.0})

  def denoiser(params: Any, cond: Any, options: Options, index: Array) -> Any:
    conditional = denoisers(params, encode(params, cond))
    wrap = threshold
    if 'null' in options:
      null = conditioning.rows(options['null'], index)
      without = denoisers(params, encode(params, {**cond, **null}))
      if learned:
        without = learned_variance.mean_only(without)
      wrap = lambda plain: threshold(guide(plain, without, options))
    if wide:
      return learned_variance.on_mean(wrap)(conditional)
    if learned:
      conditional = learned_variance.mean_only(conditional)
    return wrap(conditional)

  def draw(
    params: Any, options: Options, index: Array, axis_name=None
  ) -> Array:
    del axis_name  # each sample is its own
    prior_keys, step_keys = sample_keys(options, index)
    cond = conditioning.rows(options.get('cond', {}), index)
    if 'low_res' in options:
      cond['low_res'] = options['low_res']
    if 'low_res' in cond:
      level = jnp.broadcast_to(options['augment'], index.shape)
      cond['low_res'] = conditioning.augment(
        conditioning.augment_keys(step_keys), cond['low_res'], level
      )
      cond['augment'] = level
    denoise = denoiser(params, cond, options, index)
    step = make_step(options['eta'])
    if edit:
      parts = edits.Parts(
        schedule, process, step, denoise, grid, prior_keys, step_keys
      )
      return edit(parts, options, index)
    x_init = jax.vmap(prior)(prior_keys)
    x = samplers.sample(
      step, denoise, step_keys, x_init, grid, trajectory=trajectory
    )
    return jnp.moveaxis(x, 1, 0) if trajectory else x

  return draw


def make_cascade(
  base: Callable[..., Array], large: Callable[..., Array]
) -> Callable[..., Array]:
  """draw((params, params), (options, options), index): large draws what base
  drew small.

  Source: Ho et al. 2022, "Cascaded diffusion models".
  """

  def draw(
    params: tuple[Any, Any],
    options: tuple[Options, Options],
    index: Array,
    axis_name=None,
  ) -> Array:
    small = base(params[0], options[0], index)
    # Another seed: the same noise must not meet the same image twice.
    seed = jnp.asarray(options[1]['seed']) + CASCADE
    large_options = {**options[1], 'seed': seed, 'low_res': small}
    return large(params[1], large_options, index)

  return draw


def sample_keys(options: Options, index: Array) -> tuple[Array, Array]:
  """Keys of the samples: from one seed, or from the seed of each condition.

  With one seed sample i depends on (seed, i); with M seeds, one a row of
  conditions, on (seed of its row, how many came before it in this row).
  """
  seed = jnp.asarray(options['seed'])
  if seed.ndim:
    return samplers.sample_keys(seed[index % len(seed)], index // len(seed))
  return samplers.sample_keys(seed, index)


def _guide(config: Config) -> Callable[..., samplers.Denoiser]:
  """(with the condition, without, options) -> guided denoiser."""
  c = config.sampling
  low, high = c.interval
  if not 0 <= low < high <= 1:
    raise ValueError(
      f'sampling.interval must be two times in [0, 1], got {c.interval}'
    )
  combine = lambda cond, uncond, scale: make(
    GUIDANCE, c.guidance, 'sampling.guidance', cond, uncond, scale
  )

  def guide(
    cond: samplers.Denoiser, uncond: samplers.Denoiser, options: Options
  ) -> samplers.Denoiser:
    scale = options['scale']
    guided = combine(cond, uncond, scale)
    if c.rescale:
      guided = guidance.rescaled(guided, cond, c.rescale)
    # At scale 1 it is the conditional model at half the price: an empty
    # interval.
    start = jnp.where(scale == 1.0, 2.0, low if low else -1.0)
    return guidance.limited_interval(guided, cond, start, high)

  return guide


def options(config: Config, **cond: Any) -> dict[str, Any]:
  """What a sampler takes as traced values: changing one never recompiles.

  Args:
    config: of the run.
    **cond: of a conditional model 'cond', {name: [M, ...]}: sample i has row i
      modulo M; and for guidance 'null', what is put in their place.

  Returns:
    {'seed', 'eta'}, of categories {'seed', 'temperature'}, and for a
    conditional model {'scale', 'augment', 'cond', 'null'}.
  """
  c = config.sampling
  of_cond = {'scale': c.scale, 'augment': c.augment} if cond else {}
  own = {'eta': c.eta}
  if categories.of_categories(config):
    own = {'temperature': c.temperature}
  return {'seed': config.seed, **own, **of_cond, **cond}
