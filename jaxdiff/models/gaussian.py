"""Models of Gaussian noise: images, points, anything of real numbers."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff import (
  conditioning,
  guidance,
  losses,
  names,
  predictions,
  processes,
  samplers,
  schedules,
)
from jaxdiff.config import Config, Gaussian, Sampling, Spec, registry
from jaxdiff.losses import elbo, learned_variance
from jaxdiff.models import grids, networks
from jaxdiff.models.model import Cond, Model, Options, Params, Start
from jaxdiff.schedules import Schedule


def make(
  config: Config,
  spec: Spec,
  null: Mapping[str, Any],
  initial: Params | None = None,
) -> Model:
  """Builds the model; see `models.make`."""
  c = config.diffusion
  loss = names.name_of(c.loss, '--diffusion.loss')
  learned = c.variance == 'learned'
  if spec.categories is not None:
    raise ValueError(
      f'{config.data.name} has categories: give it diffusion=Categorical(...)'
    )
  schedule = _schedule(c)
  kind = _prediction(c, schedule)
  # Images have 256 values, and lie in [-1, 1].
  bins = 256 if spec.modality == 'image' else None
  process = processes.gaussian(schedule, c.variance, bins)
  channels = spec.shape[-1] * (2 if learned else 1)
  two_times = {'second_time': True} if loss in registry.TWO_TIMES else {}
  network = networks.make(config, spec, out_channels=channels, **two_times)
  apply = networks.scaled(network.apply, schedule, c)
  pair = learned_variance.split_output(apply) if learned else apply
  if c.self_conditioning:
    pair = losses.self_conditioned(apply, kind, schedule)

  def denoiser(params: Params, cond: Cond) -> samplers.Denoiser:
    mean = (lambda *args: pair(*args)[0]) if learned else apply
    return samplers.denoiser(mean, kind, schedule, params, cond)

  def teacher(cond: Cond) -> samplers.Denoiser:
    if initial is None:
      raise ValueError(f'--diffusion.loss {c.loss} needs weights of a teacher')
    return denoiser(initial, cond)

  def flow(params: Params, cond: Cond) -> Any:
    return lambda xt, t, s: denoiser(params, {**cond, 's': s})(xt, t)

  def fraction(params: Params, cond: Cond) -> samplers.Denoiser:
    return lambda xt, t: pair(params, xt, t, cond)[1]

  def estimator(params: Params, cond: Cond) -> Any:
    mean = denoiser(params, cond)
    mean = mean if bins is None else guidance.clip(mean)
    if not learned:
      return mean
    variance = fraction(params, cond)
    return lambda xt, t: (mean(xt, t), variance(xt, t))

  def limit(
    sampling: Sampling, options: Options, denoiser: samplers.Denoiser
  ) -> samplers.Denoiser:
    del options
    flag = '--sampling.threshold'
    return names.make(
      registry.THRESHOLDS, sampling.threshold, flag, denoiser=denoiser
    )

  def solver(
    sampling: Sampling, options: Options, params: Params, cond: Cond
  ) -> samplers.Step | samplers.Solver:
    name = names.name_of(sampling.sampler, '--sampling.sampler')
    # Of all steps, only the ancestral one has a use for a learned variance.
    variance = fraction(params, cond) if learned else None
    fixed = processes.gaussian(schedule, 'small') if learned else process
    own = name == 'ancestral'
    return names.make(
      registry.SAMPLERS,
      sampling.sampler,
      '--sampling.sampler',
      schedule=schedule,
      process=process if own else fixed,
      variance=variance,
      predictor=samplers.ancestral(fixed),
      num_steps=sampling.steps,
      flow=flow(params, cond),
      **registry.eta_for(name, options.get('eta', sampling.eta)),
    )

  def grid(sampling: Sampling) -> np.ndarray:
    return grids.times(sampling, schedule, table_steps=c.num_steps)

  given = {'teacher': teacher} if loss in registry.DISTILLING else {}
  init = network.init
  if c.uncertainty:
    first, learned_size = losses.learned_uncertainty(schedule)
    init = lambda key: {**network.init(key), 'uncertainty': first}
    given['uncertainty'] = lambda params, t: learned_size(
      params['uncertainty'], t
    )
  prior = partial(process.prior, shape=tuple(spec.shape))

  def start(
    options: Options, prior_keys: Array, step_keys: Array, index: Array
  ) -> Start:
    cond = conditioning.rows(options.get('cond', {}), index)
    if 'low_res' in options:
      cond['low_res'] = options['low_res']
    if 'low_res' in cond:
      level = jnp.broadcast_to(options['augment'], index.shape)
      cond['low_res'] = conditioning.augment(
        conditioning.augment_keys(step_keys), cond['low_res'], level
      )
      cond['augment'] = level
    return Start(jax.vmap(prior)(prior_keys), cond, lambda step: step)

  return Model(
    spec=spec,
    takes=network.takes,
    schedule=schedule,
    process=process,
    bins=bins,
    init=init,
    loss=networks.with_conditions(
      _loss(c, pair, schedule, kind, process, given), config, null
    ),
    encode=network.encode,
    denoiser=denoiser,
    recalls=c.self_conditioning,
    estimator=None if loss in registry.ENDS else estimator,
    limit=limit,
    solver=solver,
    grid=grid,
    start=start,
    decode=lambda x0, frozen=None: x0,
    latents=lambda images, frozen=None: images,
  )


def _schedule(c: Gaussian) -> Schedule:
  """Builds the noise levels.

  Raises:
    ValueError: zero_terminal_snr or shift do not fit the schedule, or too much
      signal is left at t = 1.
  """
  name, flag = names.name_of(c.schedule, '--diffusion.schedule'), c.schedule
  if name in registry.BETAS:
    betas = names.make(
      registry.BETAS, c.schedule, '--diffusion.schedule', num_steps=c.num_steps
    )
    if c.zero_terminal_snr:
      betas = schedules.zero_terminal_snr(betas)
    schedule = schedules.from_betas(betas)
  elif c.zero_terminal_snr:
    raise ValueError(
      '--diffusion.zero-terminal-snr changes a table of betas, one of '
      f'{sorted(registry.BETAS)}, got --diffusion.schedule {flag}'
    )
  else:
    schedule = names.make(
      registry.SCHEDULES, c.schedule, '--diffusion.schedule'
    )
  if c.shift != 1.0:
    try:
      schedule = schedules.shifted(schedule, c.shift)
    except ValueError as error:
      raise ValueError(f'--diffusion.shift {c.shift}: {error}') from error
  alpha, sigma = schedule(1.0)
  if alpha > grids.MOST_SIGNAL * sigma:
    raise ValueError(
      f'--diffusion.schedule {flag} still has alpha = {alpha:.2g} beside sigma '
      f'= {sigma:.2g} at t = 1 (--diffusion.num-steps {c.num_steps}, '
      f'--diffusion.shift {c.shift:g}), and samples start from noise alone'
    )
  return schedule


def _prediction(c: Gaussian, schedule: Schedule) -> predictions.Kind:
  """Finds the kind of the network's output.

  Raises:
    ValueError: it says nothing of x0 where the schedule ends.
  """
  kind = names.make(
    registry.PREDICTIONS, c.prediction, '--diffusion.prediction'
  )
  (a, b), (alpha, sigma) = kind(schedule, 1.0), schedule(1.0)
  if alpha * b == sigma * a:
    raise ValueError(
      f'--diffusion.prediction {c.prediction} says nothing of the data at '
      f't = 1 of --diffusion.schedule {c.schedule}, where no signal is left: '
      'use v, velocity or x0'
    )
  return kind


def _loss(
  c: Gaussian,
  apply: losses.Apply,
  schedule: Schedule,
  kind: predictions.Kind,
  process: processes.Process,
  given: Mapping[str, Any],
) -> losses.Loss:
  """Builds the loss; `apply` returns a pair where the variance is learned."""
  optional = {
    'space': (registry.PREDICTIONS, c.space),
    'weighting': (registry.WEIGHTINGS, c.weighting),
  }
  chosen = {
    field: names.make(table, name, f'--diffusion.{field}')
    for field, (table, name) in optional.items()
    if name is not None
  }
  if c.offset_noise:
    chosen['noise'] = losses.offset_noise(c.offset_noise)
  return names.make(
    registry.GAUSSIAN_LOSSES,
    c.loss,
    '--diffusion.loss',
    apply=apply,
    schedule=schedule,
    kind=kind,
    process=process,
    num_steps=c.num_steps,
    times=names.make(
      registry.TIME_SAMPLINGS,
      c.times,
      '--diffusion.times',
      schedule=schedule,
      num_steps=c.num_steps,
    ),
    error=names.make(registry.ERRORS, c.error, '--diffusion.error'),
    per_log_snr=c.per_log_snr,
    **chosen,
    **given,
  )


def nelbo(
  apply: losses.Apply,
  schedule: Schedule,
  kind: predictions.Kind,
  process: processes.Process,
  times: Any,
) -> losses.Loss:
  """Computes `losses.elbo.nelbo` of a network that outputs a prediction."""
  clean = losses.clean_apply(apply, kind, schedule)
  return elbo.nelbo(clean, process, times)
