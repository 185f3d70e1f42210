"""What a configuration of categories stands for: text, graphs, pixels.

`diffusion.process` names the noise. Categories have one process a kind: of a
graph one for nodes and one, symmetric, for edges, joint.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff import conditioning, editing, losses, processes, samplers
from jaxdiff.categorical_choices import (
  CATEGORICAL_SAMPLERS,
  LOSSES,
  MIXINGS,
  NOISES,
  PROCESSES,
  Mixing,
  Training,
  Unmasking,
)
from jaxdiff.choices import GRIDS, TIMES, make, name_of, pick
from jaxdiff.config import Config, Diffusion, Sampling, Spec
from jaxdiff.processes import Process
from jaxdiff.samplers import Denoiser, categorical
from jaxdiff.schedules import Schedule

_SIZE = 2**31 - 1  # no number of a step: the stream of sizes


def of_categories(config: Config) -> bool:
  """Whether the process is of categories, not of real numbers."""
  name = name_of(config.diffusion.process, 'diffusion.process')
  pick({'gaussian': None, **PROCESSES}, name, 'diffusion.process')
  return name != 'gaussian'


def num_logits(config: Config, spec: Spec) -> Any:
  """How many categories the network reads and writes: with MASK, K + 1."""
  name = name_of(config.diffusion.process, 'diffusion.process')
  return jax.tree.map(lambda k: k + (name == 'absorbing'), spec.categories)


def make_process(config: Config, spec: Spec) -> Process:
  """The noise of data of this spec."""
  if spec.kind != 'graph':
    return _part(config, spec.marginals)[0]
  parts = {name: _part(config, law)[0] for name, law in spec.marginals.items()}
  parts['edges'] = processes.symmetric(parts['edges'])
  return processes.joint(parts)


def _part(config: Config, marginals: Any) -> tuple[Process, Schedule]:
  c = config.diffusion
  data = np.asarray(marginals, np.float64)
  noise = make(NOISES, c.process, 'diffusion.process', data)
  name = name_of(c.process, 'diffusion.process')
  if name == 'marginal' and len(data) > 1 and data.max() == data.sum():
    raise ValueError(
      'diffusion.process=marginal redraws from the frequencies of the data, '
      'and of this set every element is the same: use uniform'
    )
  schedule = make(
    MIXINGS, c.schedule, 'diffusion.schedule', Mixing(data, noise)
  )
  if c.prediction not in ('logits', 'log_ratios'):
    raise ValueError(
      f'diffusion.prediction of diffusion.process={c.process} must be logits '
      f'or log_ratios, got {c.prediction}'
    )
  if name == 'ordinal' and c.prediction != 'logits':
    raise ValueError(
      f'diffusion.process={c.process} needs diffusion.prediction=logits'
    )
  alpha = float(schedule(1.0).alpha)
  if c.prediction == 'log_ratios' and alpha == 0 and noise.max() < 1:
    raise ValueError(
      'diffusion.prediction=log_ratios says nothing of the data where nothing '
      f'of it is left, at t = 1 of diffusion.schedule={c.schedule}: use '
      'log_linear'
    )
  process = make(
    PROCESSES, c.process, 'diffusion.process', schedule, noise, c.prediction
  )
  return process, schedule


def make_loss(config: Config, spec: Spec, apply: losses.Apply) -> losses.Loss:
  """The loss of the network, nats per element.

  Raises:
    ValueError: choices that are for images, or contradict one another.
  """
  c = config.diffusion
  for name in (
    'zero_terminal_snr',
    'shift',
    'weighting',
    'per_log_snr',
    'error',
    'offset_noise',
    'variance',
    'objective',
    'vlb_scale',
  ):
    if getattr(c, name) != getattr(Diffusion, name):
      raise ValueError(
        f'diffusion.{name} is for diffusion.process=gaussian, and this is '
        f'{c.process}'
      )
  loss = c.loss or 'nelbo'
  # A bound is an even mean over t, or over its own grid.
  fitting = {
    'nelbo': ('continuous',),
    'variational': ('continuous',),
    'cross_entropy': ('continuous', 'grid', 'logit_normal'),
  }
  name = name_of(loss, 'diffusion.loss')
  pick(LOSSES, name, 'diffusion.loss')
  known = {k: TIMES[k] for k in fitting[name]}
  parts = tuple(spec.shape) if spec.kind == 'graph' else ()
  return make(
    LOSSES,
    loss,
    'diffusion.loss',
    Training(
      apply,
      make_process(config, spec),
      make(known, c.times, 'diffusion.times', None, c.num_steps),
      c.num_steps,
      parts,
    ),
  )


class Drawn(NamedTuple):
  """Samples of categories."""

  x: Any  # int [B, ...], or a dict of them
  size: Array | None  # [B] how many elements, or nodes; None: all there are


def masks(spec: Spec, size: Array) -> Any:
  """Which elements of examples of `size` [B] exist: bool, a tree like x0."""
  if spec.kind != 'graph':
    return jnp.arange(spec.shape[0])[None] < size[:, None]
  node = jnp.arange(spec.shape['edges'][0])[None] < size[:, None]
  apart = ~jnp.eye(node.shape[1], dtype=bool)[None]
  edge = node[:, :, None] & node[:, None, :] & apart
  return {name: edge if name == 'edges' else node for name in spec.shape}


def make_sampler(
  config: Config,
  spec: Spec,
  apply: losses.Apply,
  guide: Callable[..., Denoiser],
  keys: Callable[..., tuple[Array, Array]],
  *,
  trajectory: bool = False,
) -> Callable[..., Drawn]:
  """draw(params, options, index[B]) -> Drawn.

  options, all traced, are those of `build.options`. What is written is
  {'given': {'x0': [M, L], 'known': bool [M, L], 'size': [M]}}: sample i has
  row i modulo M.

  Args:
    config: of the run.
    spec: of its data.
    apply: the network.
    guide: (with the condition, without, options) -> Denoiser.
    keys: (options, index) -> the samples' keys.
    trajectory: return all xt on the way, [B, steps + 1, ...].
  """
  c = config.sampling
  if c.rescale or c.guidance != Sampling.guidance:
    raise ValueError(
      'logits are guided by sampling.guidance=classifier_free without a rescale'
    )
  if c.block is not None and (spec.kind != 'text' or c.block < 1):
    raise ValueError(f'sampling.block is of text and at least 1, got {c.block}')
  for name in ('eta', 'threshold', 'augment'):
    if getattr(c, name) != getattr(Sampling, name):
      raise ValueError(f'sampling.{name} is for images that are numbers')
  process = make_process(config, spec)
  absorbing = name_of(config.diffusion.process, 'process') == 'absorbing'
  if not c.temperature > 0:
    raise ValueError(
      f'sampling.temperature must be positive, got {c.temperature}; near 0 the '
      'likeliest is drawn'
    )
  ratios = config.diffusion.prediction == 'log_ratios'
  if c.temperature != 1 and ratios and not absorbing:
    raise ValueError(
      'sampling.temperature is of logits, or of log_ratios under absorbing '
      'noise'
    )
  if c.block is not None and (not absorbing or config.network.transformer.time):
    raise ValueError(
      'sampling.block leaves masks to the right, which a network that is told '
      't never met: it needs diffusion.process=absorbing and '
      '--network.transformer.no-time'
    )
  graph = spec.kind == 'graph'
  step = make(
    CATEGORICAL_SAMPLERS,
    c.sampler,
    'sampling.sampler',
    Unmasking(
      process,
      None if graph else _part(config, spec.marginals)[1],
      spec.categories if absorbing and not graph else None,
    ),
  )
  grids = {k: v for k, v in GRIDS.items() if k not in ('karras', 'log_snr')}
  grid = make(grids, c.times, 'sampling.times', c.steps, None)
  prior = partial(process.prior, shape=spec.shape)

  def denoiser(
    params: Any, options: Mapping[str, Any], cond: Any, index: Array
  ):
    plain = categorical.denoiser(apply, params, cond)
    if 'null' in options:
      null = conditioning.rows(options['null'], index)
      without = categorical.denoiser(apply, params, {**cond, **null})
      plain = guide(plain, without, options)
    return categorical.temperature(plain, options['temperature'])

  def draw(
    params: Any, options: Mapping[str, Any], index: Array, axis_name=None
  ) -> Drawn:
    del axis_name  # each sample is its own
    prior_keys, step_keys = keys(options, index)
    cond = conditioning.rows(options.get('cond', {}), index)
    given = conditioning.rows(options.get('given', {}), index)
    x_init, known, size = jax.vmap(prior)(prior_keys), None, None
    if spec.sizes is not None:
      size = given['size'] if given else _sizes(spec.sizes, step_keys)
      mask = masks(spec, size)
      cond['mask'] = mask
      nothing = jax.tree.map(jnp.zeros_like, x_init)
      absent = jax.tree.map(jnp.logical_not, mask)
      x_init, known = categorical.place(x_init, nothing, absent), absent
    if given and absorbing:
      x_init = categorical.place(x_init, given['x0'], given['known'])
      known = given['known'] if known is None else known | given['known']
    stepper = step if known is None else categorical.hold(step, x_init, known)
    if given and not absorbing:
      # What is known is as noisy as the rest.
      stepper = editing.inpaint(stepper, process, given['x0'], ~given['known'])
    denoise = denoiser(params, options, cond, index)
    if c.block is not None:
      x = categorical.sample_blocks(
        step,
        denoise,
        step_keys,
        x_init,
        grid,
        c.block,
        known,
        trajectory=trajectory,
      )
    else:
      x = samplers.sample(
        stepper, denoise, step_keys, x_init, grid, trajectory=trajectory
      )
    if trajectory:
      x = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), x)
    return Drawn(x, size)

  return draw


def _sizes(law: Any, keys: Array) -> Array:
  """Sizes drawn from the law [N + 1], [B]."""
  log_law = jnp.log(jnp.asarray(law))
  one = lambda key: jax.random.categorical(
    jax.random.fold_in(key, _SIZE), log_law
  )
  return jax.vmap(one)(keys)
