"""Guidance by another model: a weaker one (--guide), or a classifier."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxdiff import guidance, parallel, runs
from jaxdiff.config import registry
from jaxdiff.models import Model
from jaxdiff.models import classifier_files as classifiers
from jaxdiff.models.model import Cond, Params
from jaxdiff.models.prompts import READER
from jaxdiff.runs import Run
from jaxdiff.samplers import Denoiser

_NOISE = ('schedule', 'shift', 'zero_terminal_snr', 'num_steps', 'process')


class Guide(NamedTuple):
  """The other model of guidance: one of the two."""

  run: Run | None = None
  classifier: classifiers.Trained | None = None


def load(guide: str | None, classifier: str | None, mesh: Mesh) -> Guide | None:
  """Loads the model of --guide or --classifier; None without either.

  Raises:
    ValueError, FileNotFoundError: as `runs.load` and `classifier.load`.
  """
  if guide is not None:
    return Guide(run=runs.load(guide, mesh))
  if classifier is not None:
    return Guide(classifier=classifiers.load(classifier))
  return None


def guided(run: Run, guide: Guide | None, mesh: Mesh) -> Run:
  """Returns the run with this guidance, its weights both.

  Raises:
    ValueError: the other model does not fit.
  """
  if guide is None:
    return run
  flag = '--guide' if guide.run else '--classifier'
  loss = getattr(run.config.diffusion, 'loss', '').partition('(')[0]
  sampler = run.config.sampling.sampler.partition('(')[0]
  if loss in registry.ENDS or sampler == 'flow_map':
    raise ValueError(
      f'{flag} guides estimates of E[x0 | xt], and {run.workdir} has none with '
      f'--sampler {sampler}'
    )
  if guide.run:
    return _autoguided(run, guide.run)
  return _classified(run, guide.classifier, mesh)


def _autoguided(run: Run, bad: Run) -> Run:
  """Source: Karras et al. 2024 (arXiv:2406.02507), see `autoguidance`."""
  loss = getattr(bad.config.diffusion, 'loss', '').partition('(')[0]
  if loss in (*registry.ENDS, *registry.TWO_TIMES):
    raise ValueError(
      f'--guide {bad.workdir} was trained by {loss}: it does not estimate '
      'E[x0 | xt]'
    )

  def parts(r: Run) -> list[Any]:
    data, c = r.spec.data or {}, r.config.condition
    return [
      r.spec.shape,
      r.spec.categories,
      r.spec.symbols,
      r.spec.latents,
      r.model.takes,
      # The meaning of its conditions.
      [data.get('classes'), data.get(READER), c.text and c.length, c.low_res],
      [getattr(r.config.diffusion, n, None) for n in _NOISE],
    ]

  if bad.model.process is None or parts(run) != parts(bad):
    raise ValueError(
      f'--guide {bad.workdir} must have the data, the conditions and the noise '
      f'of {run.workdir}'
    )
  if runs.digest(bad.params) == runs.digest(run.params):
    raise ValueError(f'--guide {bad.workdir} has the same weights: no effect')
  model = _with_more(run.model)
  weaker = lambda params, cond: bad.model.denoiser(params[1], cond)
  return run._replace(
    model=model._replace(weaker=weaker), params=(run.params, bad.params)
  )


def _classified(run: Run, known: classifiers.Trained, mesh: Mesh) -> Run:
  """The classifier has met no noise: it reads the estimate of x0.

  Source: Bansal et al. 2023 (arXiv:2302.07121), equation 5; the gradient is
  that of Dhariwal and Nichol 2021, see `classifier_gradient`.
  """
  shape, num = known.about.image_shape, known.about.num_classes
  numbers = run.model.schedule is not None and not run.spec.latents
  if not numbers or tuple(run.spec.shape) != tuple(shape):
    raise ValueError(
      f'--classifier reads images {tuple(shape)}, and {run.workdir} '
      f'draws {run.spec.shape}'
    )
  if run.model.takes:
    raise ValueError(
      '--classifier is for a model without conditions, and '
      f'{run.workdir} takes {", ".join(run.model.takes)}'
    )
  plain = run.model.denoiser

  def toward(params: Params, cond: Cond) -> Denoiser:
    label, rest = cond['label'], {k: x for k, x in cond.items() if k != 'label'}
    denoise = plain(params[0], rest)

    def log_prob(xt: jax.Array, t: jax.Array) -> jax.Array:
      variables = {'params': params[1]}
      logits = known.network.apply(variables, denoise(xt, t)).logits
      each = jax.nn.log_softmax(logits)
      return jnp.take_along_axis(each, label[:, None], axis=-1)[:, 0]

    return guidance.classifier_gradient(
      denoise, log_prob, 1.0, run.model.schedule
    )

  config = dataclasses.replace(
    run.config, condition=dataclasses.replace(run.config.condition, label=True)
  )
  model = _with_more(run.model)._replace(
    denoiser=toward,
    weaker=lambda params, cond: plain(params[0], cond),
    takes=('label',),
    spec=run.spec._replace(num_classes=num),
  )
  sharding = parallel.state_sharding(known.params, mesh)
  params = jax.tree.map(jax.device_put, known.params, sharding)
  return run._replace(
    config=config, model=model, spec=model.spec, params=(run.params, params)
  )


def _with_more(model: Model) -> Model:
  """The model of pairs of parameters, of which the first are its own."""
  first: Callable[..., Any] = lambda f: (
    lambda params, *rest: f(params[0], *rest)
  )
  solver = model.solver
  return model._replace(
    encode=first(model.encode),
    denoiser=first(model.denoiser),
    estimator=model.estimator and first(model.estimator),
    solver=lambda sampling, options, params, cond: solver(
      sampling, options, params and params[0], cond
    ),
  )
