"""Kinds of what a factory outside the library builds, and its trial.

A name 'package.module:function' may be of anything. What it builds is used once
when the configuration is built, so that another thing is refused by its flag,
and not by the program that it would have become a part of.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxdiff.config import registry


class Kind(NamedTuple):
  """The kind of a value: its name in words, a test that raises for others."""

  words: str
  test: Callable[[Any], object]

  def check(self, built: Any, text: str) -> None:
    """Raises ValueError unless `text` has built one."""
    try:
      self.test(built)
    except Exception as error:
      # In one line: a module is described in many.
      found, reason = (' '.join(str(x).split()) for x in (repr(built), error))
      raise ValueError(
        f'{text} must build {self.words}, got {found:.60}: {reason}'
      ) from error


def function(words: str, *arguments: str) -> Kind:
  """Builds the kind of functions of so many arguments."""

  def test(built: Any) -> None:
    if not callable(built):
      raise TypeError('it is no function')
    inspect.signature(built).bind(*arguments)

  return Kind(f'{words}, a function of {", ".join(arguments)}', test)


def numbers(words: str, num: int, *example: Any) -> Kind:
  """Builds the kind of functions that return so many numbers of an example."""

  def test(built: Any) -> None:
    found = np.asarray(built(*map(np.asarray, example)), float)
    if found.size != num:
      raise TypeError(f'it returns {found.size} numbers')

  return Kind(words, test)


def module(*arguments: str, **named: object) -> Kind:
  """Builds the kind of Flax modules that are called with so many arguments."""

  def test(built: Any) -> None:
    from flax import linen

    if not isinstance(built, linen.Module):
      raise TypeError('it is no flax.linen.Module')
    if '__call__' not in dir(type(built)):
      raise TypeError('it has no __call__')
    inspect.signature(type(built).__call__).bind(built, *arguments, **named)

  called = ', '.join((*arguments, *named))
  return Kind(f'a Flax module, called with {called}', test)


def _process(built: Any) -> None:
  from jaxdiff.processes import Process

  if not isinstance(built, Process):
    raise TypeError('it is none')


def _step(built: Any) -> None:
  arguments = ['denoiser', 'keys', 'xt', 't', 's']
  if hasattr(built, 'init'):
    inspect.signature(built.init).bind('x')
    arguments.append('state')
  inspect.signature(getattr(built, 'step', built)).bind(*arguments)


PROCESS = Kind('a Process', _process)
STEP = Kind('a Step or a Solver', _step)
SCHEDULE = numbers('a function of t that returns alpha and sigma', 2, 0.5)


# Contexts in which a factory is tried: what it depends on, small.


def denoisers() -> dict[str, object]:
  denoiser = lambda xt, t: xt
  denoisers = dict.fromkeys(('denoiser', 'cond', 'uncond'), denoiser)
  return denoisers | {'scale': 1, 'past': 0.0}


def noise(sampler: str = '') -> dict[str, object]:
  from jaxdiff import processes, samplers, schedules

  # As wide as any, and as short: what fits a run is found out by its model.
  schedule = schedules.cosine(-60.0, 60.0)
  process = processes.gaussian(schedule)
  return {
    'schedule': schedule,
    'process': process,
    'variance': None,
    'predictor': samplers.ancestral(process),
    **registry.eta_for(sampler, 0.0),
    'flow': lambda xt, t, s: xt,
    'num_steps': 1,
    'table_steps': 1000,
  }


def rate() -> dict[str, object]:
  return {'learning_rate': 1e-3, 'peak': 1e-3, 'num_steps': 10}


def gaussian() -> dict[str, object]:
  from jaxdiff import predictions, processes, schedules

  schedule = schedules.cosine()
  return {
    'apply': lambda params, xt, t, cond: xt,
    'schedule': schedule,
    'kind': predictions.v,
    'process': processes.gaussian(schedule),
    'num_steps': 1000,
  }


def loss() -> dict[str, object]:
  chosen = dict.fromkeys(('space', 'weighting', 'noise', 'uncertainty'))
  return (
    gaussian()
    | chosen
    | {
      'teacher': lambda cond: lambda xt, t: xt,
      'times': lambda u: u,
      'error': np.square,
      'per_log_snr': False,
    }
  )


def categorical() -> dict[str, object]:
  from jaxdiff import processes
  from jaxdiff.schedules import mixing

  return {
    'apply': lambda params, xt, t, cond: xt,
    'schedule': mixing.linear(),
    'process': processes.uniform(mixing.linear(), 2),
    'probs': np.full(2, 0.5),
    'data': np.full(2, 0.5),
    'noise': np.full(2, 0.5),
    'parts': ('nodes', 'edges'),
    'num_classes': 2,
    'times': lambda u: u,
    'num_steps': 1000,
    'estimate': 'logits',
  }


def unmasking() -> dict[str, object]:
  known = categorical()
  unmasks = ('process', 'schedule', 'num_classes')
  rebuild = lambda kind: kind(known['schedule'], known['probs'])
  return {**{name: known[name] for name in unmasks}, 'rebuild': rebuild}
