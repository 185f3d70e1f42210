"""The sampler of a model: denoiser, guidance, times and step put together."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff import conditioning, guidance, names, samplers
from jaxdiff.config import Config, Sampling, registry
from jaxdiff.models import Model
from jaxdiff.models.model import Cond, Options, Params
from jaxdiff.processes import Process
from jaxdiff.samplers import categorical
from jaxdiff.samplers.sampling import as_solver
from jaxdiff.schedules import Schedule

CASCADE = 1_000_003  # between the seeds of two stages


class Samples(NamedTuple):
  """Samples of a compiled sampler."""

  x: Any  # [B, ...], or with `trajectory` [B, steps + 1, ...]
  size: Array | None = None  # [B] the number of elements; None: all


class Parts(NamedTuple):
  """The parts of a sampler, for an `Edit`."""

  schedule: Schedule
  process: Process
  step: samplers.Step | samplers.Solver
  denoiser: samplers.Denoiser
  times: np.ndarray
  prior_keys: Array
  step_keys: Array


Edit = Callable[[Parts, Mapping[str, Array], Array], Array]
Draw = Callable[..., Samples]  # (params, options, index[B])


def make_sampler(
  model: Model,
  sampling: Sampling,
  *,
  edit: Edit | None = None,
  trajectory: bool = False,
) -> Draw:
  """Builds draw(params, options, index[B]) -> Samples.

  Sample i depends on the options and on i alone.

  Args:
    model: From `models.make`.
    sampling: The sampler, its steps, guidance and threshold.
    edit: Starts from an image in the options.
    trajectory: Return every xt on the way, [B, steps + 1, ...]; not of an edit.

  Raises:
    ValueError: Settings that do not fit the model.
  """
  if edit and model.schedule is None:
    raise ValueError('--edit is for images that are real numbers')
  if model.recalls and sampling.momentum:
    raise ValueError(
      '--sampling.momentum is not for --diffusion.self-conditioning'
    )
  block = sampling.block or model.block
  if block is not None and block > model.spec.shape[0]:
    raise ValueError(
      f'--{"sampling" if sampling.block else "network"}.block must be at most '
      f'{model.spec.shape[0]}, the length of a text, got {block}'
    )
  grid, guide = model.grid(sampling), _guide(sampling)
  begin = _beginning(model, grid[0])
  # Settings that are wrong are found while building.
  nothing: Any = lambda xt, t: xt
  as_solver(model.solver(sampling, {}, None, {}))
  model.limit(sampling, {}, nothing)
  guide(nothing, nothing, jnp.float32(2.0))

  def pair(
    params: Params, cond: Cond, encoded: Cond, options: Options, index: Array
  ) -> Callable[[Cond], tuple[samplers.Denoiser, samplers.Denoiser | None]]:
    """Builds both denoisers of guidance, the second None without guidance."""
    without = None
    if 'null' in options:
      null = conditioning.rows(options['null'], index)
      without = model.encode(params, {**cond, **null})

    def denoisers(more: Cond) -> Any:
      own = model.denoiser(params, {**encoded, **more})
      if model.weaker is not None:
        return own, model.weaker(params, {**encoded, **more})
      if without is None:
        return own, None
      return own, model.denoiser(params, {**without, **more})

    return denoisers

  def draw(
    params: Params, options: Options, index: Array, axis_name: Any = None
  ) -> Samples:
    del axis_name  # each sample is its own
    prior_keys, step_keys = sample_keys(options, index)
    # An edit starts elsewhere: of this start only the conditions are used.
    first_keys = jax.random.clone(prior_keys) if edit else prior_keys
    start = model.start(options, first_keys, step_keys, index)
    encoded = model.encode(params, start.cond)
    denoisers = pair(params, start.cond, encoded, options, index)

    def denoiser(more: Cond, past: Any = 0.0) -> samplers.Denoiser:
      own, weaker = denoisers(more)
      if weaker is not None:
        own = guide(own, weaker, options['scale'], past)
      return model.limit(sampling, options, own)

    denoise = denoiser({})
    step = model.solver(sampling, options, params, encoded)
    if sampling.denoise_last:  # within what remembers, which it sees too
      step = samplers.denoised_last(step, grid[-1])
    if model.recalls:
      step = samplers.recalling(step, lambda x0: denoiser({'x0': x0}))
    own, weaker = denoisers({})
    if sampling.momentum and weaker is not None:
      guided = lambda past: denoiser({}, past)
      step = guidance.momentum(step, own, weaker, guided, sampling.momentum)
    if edit:
      parts = Parts(
        model.schedule,
        model.process._replace(
          prior=lambda key, shape: begin(model.process.prior(key, shape))
        ),
        step,
        denoise,
        grid,
        prior_keys,
        step_keys,
      )
      return Samples(edit(parts, options, index))
    x_init = begin(start.x)
    if block is not None:
      memory = None
      # Guidance has two denoisers, whose keys and values differ.
      if model.memory is not None and weaker is None:
        memory = model.memory(params, encoded, len(index))
      x = categorical.sample_blocks(
        step,
        denoise,
        step_keys,
        x_init,
        grid,
        block,
        start.known,
        trajectory,
        memory,
        lambda kept, first: denoiser({'kept': (*kept, first)}),
      )
    else:
      held = start.hold(step)
      x = samplers.sample(
        held, denoise, step_keys, x_init, grid, trajectory=trajectory
      )
    if trajectory:
      x = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), x)
    return Samples(model.decode(x, options.get('frozen')), start.size)

  return draw


def _beginning(model: Model, first: float) -> Callable[[Any], Any]:
  """Builds x at t = 1 -> x at the first time of a grid, which may be below.

  The prior has the size of xt at t = 1, for data of unit size. It is another at
  `first` where the schedule does not preserve the variance.
  """
  if model.schedule is None:
    return lambda x: x
  begun, whole = (float(jnp.hypot(*model.schedule(t))) for t in (first, 1.0))
  # The rest is rounding, as on a schedule that does.
  if abs(begun - whole) < 1e-3 * whole:
    return lambda x: x
  return lambda x: begun / whole * x


def make_cascade(base: Draw, large: Draw) -> Draw:
  """Builds the sampler of two stages: large enlarges what base drew.

  Params and options are pairs, those of base first.

  Source: Ho et al. 2022, "Cascaded diffusion models".
  """

  def draw(
    params: tuple[Params, Params],
    options: tuple[Options, Options],
    index: Array,
    axis_name: Any = None,
  ) -> Samples:
    small = base(params[0], options[0], index).x
    # Another seed: the same noise must not meet the same image twice.
    seed = jnp.asarray(options[1]['seed']) + CASCADE
    large_options = {**options[1], 'seed': seed, 'low_res': small}
    return large(params[1], large_options, index)

  return draw


def sample_keys(options: Options, index: Array) -> tuple[Array, Array]:
  """Derives the keys of samples: of (seed, i) for sample i.

  With M seeds, one for each row of conditions, of (seed of its row, number of
  samples before it in this row).
  """
  seed = jnp.asarray(options['seed'])
  if seed.ndim:
    return samplers.sample_keys(seed[index % len(seed)], index // len(seed))
  return samplers.sample_keys(seed, index)


def traced_options(
  config: Config,
  cond: dict[str, np.ndarray] | None = None,
  null: dict[str, np.ndarray] | None = None,
  seed: Any = None,
  frozen: Params = None,
) -> dict[str, Any]:
  """Returns the options of a sampler: changing a value never recompiles.

  Args:
    config: Of the run.
    cond: Conditions {name: [M, ...]}; sample i has row i modulo M.
    null: For guidance, {name: [1, ...]}, put in the place of cond.
    seed: Of the noise, or one for each row; None is that of the run.
    frozen: `Model.frozen`.
  """
  c = config.sampling
  options: dict[str, Any] = {
    'seed': config.seed if seed is None else seed,
    'eta': c.eta,
    'temperature': c.temperature,
    # In a cascade the small image is no condition of the options.
    'augment': c.augment,
    'scale': c.scale,
    **({} if frozen is None else {'frozen': frozen}),
  }
  if cond:
    options |= {'cond': cond} | ({'null': null} if null else {})
  return options


def check_finite(drawn: Samples, index: np.ndarray) -> None:
  """Raises ValueError that names samples with nan or infinite values."""
  for x in jax.tree.leaves(drawn.x):
    if not np.issubdtype(x.dtype, np.floating):
      continue
    x = np.asarray(x)
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if bad.any():
      # The last batch is filled up with copies.
      wrong, every = np.unique(np.asarray(index)[bad]), np.unique(index)
      listed = ', '.join(map(str, wrong[:5]))
      raise ValueError(
        f'{len(wrong)} of {len(every)} samples are not finite (sample {listed}'
        f'{", ..." if len(wrong) > 5 else ""}): use a smaller --scale, more '
        '--steps, another sampler, or an earlier --checkpoint'
      )


def _guide(c: Sampling) -> Callable[..., samplers.Denoiser]:
  """Builds (conditional, unconditional, scale) -> guided denoiser."""
  low, high = c.interval

  def guide(
    cond: samplers.Denoiser,
    uncond: samplers.Denoiser,
    scale: Array,
    past: Any = 0.0,
  ) -> samplers.Denoiser:
    guided = names.make(
      registry.GUIDANCE,
      c.guidance,
      '--sampling.guidance',
      cond=cond,
      uncond=uncond,
      scale=scale,
      past=past,
    )
    if c.rescale:
      guided = guidance.rescaled(guided, cond, c.rescale)
    # At scale 1 the conditional model alone is evaluated: an empty interval.
    start = jnp.where(scale == 1.0, 2.0, low if low else -1.0)
    return guidance.limited_interval(guided, cond, start, high)

  return guide
