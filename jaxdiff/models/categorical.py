"""Models of categorical noise: text, graphs, pixels as categories.

All elements of a kind share one process. A graph has one for its nodes and a
symmetric one for its edges; together they are joint.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff import conditioning, editing, losses, names, processes, samplers
from jaxdiff.config import Categorical, Config, Sampling, Spec, registry
from jaxdiff.losses import elbo
from jaxdiff.models import grids, networks
from jaxdiff.models.model import Cond, Model, Options, Params, Start
from jaxdiff.processes import Process
from jaxdiff.samplers import categorical
from jaxdiff.schedules import Schedule

_SIZE = 2**31 - 1  # no number of a step: the stream of sizes


# The distribution from which an element is redrawn, [K'], by that of the data.
_NOISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  'absorbing': lambda data: np.append(np.zeros(len(data)), 1.0),
  'uniform': lambda data: np.full(len(data), 1 / len(data)),
  'ordinal': lambda data: np.full(len(data), 1 / len(data)),
}


class Part(NamedTuple):
  """The noise of elements of one kind."""

  process: Process
  schedule: Schedule
  probs: np.ndarray  # [K] from which it redraws; with MASK, 1 more


def make(config: Config, spec: Spec, null: Mapping[str, Any]) -> Model:
  """Builds the model; see `models.make`."""
  c = config.diffusion
  if spec.categories is None:
    raise ValueError(
      f'{config.data.name} has real numbers: give it diffusion=Gaussian(...)'
    )
  graph = isinstance(spec.categories, Mapping)
  parts = (
    {name: _part(c, spec.marginals[name]) for name in spec.marginals}
    if graph
    else _part(c, spec.marginals)
  )

  def rebuild(kind: Callable[..., Process]) -> Process:
    build = lambda part: kind(part.schedule, part.probs, c.prediction)
    if not graph:
      return build(parts)
    return _joint({name: build(part) for name, part in parts.items()})

  process = (
    _joint({name: part.process for name, part in parts.items()})
    if graph
    else parts.process
  )
  absorbing = c.process in registry.MASKING
  network = networks.make(config, spec, **_sizes(spec, parts))
  loss = _loss(c, network.apply, process, spec)
  block = getattr(config.network, 'block', None)

  def denoiser(params: Params, cond: Cond) -> samplers.Denoiser:
    run = categorical.denoiser(network.apply, params, cond)
    return (lambda xt, t: run(xt, t)[0]) if 'kept' in cond else run

  def memory(params: Params, cond: Cond, num: int) -> categorical.Memory:
    n, (length,) = config.network, spec.shape
    shape = n.depth, num, length, n.num_heads, n.width // n.num_heads

    def write(kept: Any, block: Array, first: Array) -> Any:
      more = {**cond, 'kept': (*kept, first)}
      return network.apply(params, block, jnp.zeros(num), more)[1]

    return categorical.Memory((jnp.zeros(shape, n.dtype),) * 2, write)

  def limit(
    sampling: Sampling, options: Options, denoiser: samplers.Denoiser
  ) -> samplers.Denoiser:
    value = options.get('temperature', sampling.temperature)
    return categorical.temperature(denoiser, value)

  def solver(
    sampling: Sampling, options: Options, params: Params, cond: Cond
  ) -> samplers.Step | samplers.Solver:
    del options, params, cond
    flag = '--sampling.sampler'
    name = names.name_of(sampling.sampler, flag)
    lifts = name in ('surest_first', 'remasked')
    if lifts and (graph or not absorbing):
      raise ValueError(
        f'{flag} {sampling.sampler} lifts masks: it needs --diffusion.process '
        'absorbing, and no graph'
      )
    unmasks = (
      {'schedule': parts.schedule, 'num_classes': spec.categories}
      if not graph
      else {}
    )
    return names.make(
      registry.CATEGORICAL_SAMPLERS,
      sampling.sampler,
      flag,
      process=process,
      rebuild=rebuild,
      **unmasks,
    )

  def grid(sampling: Sampling) -> np.ndarray:
    return grids.times(sampling, table_steps=c.num_steps)

  prior = partial(process.prior, shape=spec.shape)

  def start(
    options: Options, prior_keys: Array, step_keys: Array, index: Array
  ) -> Start:
    cond = conditioning.rows(options.get('cond', {}), index)
    given = conditioning.rows(options.get('given', {}), index)
    x, known, size = jax.vmap(prior)(prior_keys), None, None
    if spec.sizes is not None:
      size = given['size'] if given else _draw_sizes(spec.sizes, step_keys)
      mask = _masks(spec, size)
      cond['mask'] = mask
      nothing = jax.tree.map(jnp.zeros_like, x)
      absent = jax.tree.map(jnp.logical_not, mask)
      x, known = categorical.place(x, nothing, absent), absent
    if given and absorbing:
      x = categorical.place(x, given['x0'], given['known'])
      known = given['known'] if known is None else known | given['known']

    def hold(step: samplers.Step | samplers.Solver) -> Any:
      held = step if known is None else categorical.hold(step, x, known)
      if given and not absorbing:
        # What is known is as noisy as the rest.
        held = editing.inpaint(held, process, given['x0'], ~given['known'])
      return held

    return Start(x, cond, hold, known, size)

  return Model(
    spec=spec,
    takes=network.takes,
    schedule=None,
    process=process,
    init=network.init,
    loss=networks.with_conditions(
      loss if block is None else conditioning.given_past(loss), config, null
    ),
    block=block,
    # The keys of a network that reads the time are of that time.
    memory=memory if block is not None and not config.network.time else None,
    encode=network.encode,
    denoiser=denoiser,
    estimator=denoiser,
    limit=limit,
    solver=solver,
    grid=grid,
    start=start,
    decode=lambda x0, frozen=None: x0,
  )


def _part(c: Categorical, marginals: Any) -> Part:
  """Builds the noise of elements whose categories have these frequencies."""
  data = np.asarray(marginals, np.float64)
  flag = '--diffusion.process'
  name = names.name_of(c.process, flag)
  noise = _NOISES.get(name, lambda data: data)(data)
  if name == 'marginal' and len(data) > 1 and data.max() == data.sum():
    raise ValueError(
      f'{flag} marginal redraws from the frequencies of the data, and in this '
      'data set every element is the same: use uniform'
    )
  schedule = names.make(
    registry.CATEGORICAL_SCHEDULES,
    c.schedule,
    '--diffusion.schedule',
    data=np.pad(data, (0, len(noise) - len(data))),
    noise=noise,
  )
  alpha = float(schedule(1.0).alpha)
  if c.prediction == 'log_ratios' and alpha == 0 and noise.max() < 1:
    raise ValueError(
      '--diffusion.prediction log_ratios says nothing of the data where '
      'nothing of it is left, at t = 1 of --diffusion.schedule '
      f'{c.schedule}: use log_linear'
    )
  process = names.make(
    registry.PROCESSES,
    c.process,
    flag,
    schedule=schedule,
    probs=noise,
    num_classes=len(noise),
    estimate=c.prediction,
  )
  return Part(process, schedule, noise)


def _joint(parts: Mapping[str, Process]) -> Process:
  """Builds the process of a graph, whose edges are symmetric."""
  edges = processes.symmetric(parts['edges'])
  return processes.joint({**parts, 'edges': edges})


def _sizes(spec: Spec, parts: Any) -> dict[str, Any]:
  """The sizes of the network's inputs and outputs, by modality."""
  if spec.modality == 'image':
    num = len(parts.probs)
    return {'out_channels': spec.shape[-1] * num, 'num_logits': num}
  if spec.modality != 'graph':
    return {'num_categories': len(parts.probs)}
  nodes, edges = parts.get('nodes'), len(parts['edges'].probs)
  return {
    'node_categories': nodes and len(nodes.probs),
    'edge_categories': edges,
    # MASK is no edge: it is not to be counted among them.
    'edge_mask': spec.categories['edges']
    if edges > spec.categories['edges']
    else None,
  }


def _loss(
  c: Categorical, apply: losses.Apply, process: Process, spec: Spec
) -> losses.Loss:
  return names.make(
    registry.CATEGORICAL_LOSSES,
    c.loss,
    '--diffusion.loss',
    apply=apply,
    process=process,
    num_steps=c.num_steps,
    times=names.make(
      registry.TIME_SAMPLINGS,
      c.times,
      '--diffusion.times',
      num_steps=c.num_steps,
    ),
    parts=tuple(spec.shape) if isinstance(spec.shape, Mapping) else (),
  )


def cross_entropy(
  apply: losses.Apply,
  process: Process,
  times: Any,
  parts: tuple[str, ...],
  edges: float | None = None,
) -> losses.Loss:
  """Computes `losses.elbo.cross_entropy` with a weight for edges.

  Args:
    apply, process, times: as there.
    parts: the names of the parts of x0, for graphs.
    edges: the weight of edges beside a weight of 1 for nodes.

  Raises:
    ValueError: a weight for data without nodes and edges.
  """
  weights = None
  if edges is not None:
    if set(parts) != {'nodes', 'edges'}:
      raise ValueError(
        'edges weighs edges beside nodes, and in this data set nodes have no '
        'categories'
      )
    weights = {'nodes': 1.0, 'edges': edges}
  return elbo.cross_entropy(apply, process, times, weights)


def _masks(spec: Spec, size: Array) -> Any:
  """Masks the existing elements of examples of `size` [B]: a tree like x0."""
  if not isinstance(spec.shape, Mapping):
    return jnp.arange(spec.shape[0])[None] < size[:, None]
  node = jnp.arange(spec.shape['edges'][0])[None] < size[:, None]
  apart = ~jnp.eye(node.shape[1], dtype=bool)[None]
  edge = node[:, :, None] & node[:, None, :] & apart
  return {name: edge if name == 'edges' else node for name in spec.shape}


def _draw_sizes(distribution: Any, keys: Array) -> Array:
  """Draws sizes [B] from a distribution [N + 1]."""
  log_probs = jnp.log(jnp.asarray(distribution))
  one = lambda key: jax.random.categorical(
    jax.random.fold_in(key, _SIZE), log_probs
  )
  return jax.vmap(one)(keys)
