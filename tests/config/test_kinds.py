"""Names from outside that build another thing than their flag is for."""

import dataclasses
import typing

import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import models, names
from jaxdiff.config import registry
from jaxdiff.config.kinds import Kind

TEXT = c.Spec(
  'text', (8,), categories=5, marginals=np.full(5, 0.2), symbols='abcde'
)
CATEGORIES = dataclasses.replace(
  tiny.config,
  diffusion=c.Categorical(),
  network=c.Transformer(width=8, depth=1, num_heads=2),
  sampling=c.Sampling(sampler='ancestral', steps=2, num=4),
)
AUTOENCODER = dataclasses.replace(
  tiny.config, diffusion=c.Autoencoding(), network=c.Autoencoder()
)
POINTS = dataclasses.replace(tiny.config, network=c.MLP(width=8, depth=1))
# A text, a number, nothing, a function of something else, a module of many
# lines; what needs an argument.
WRONG = (
  *('os:getcwd', 'os:getpid', 'gc:freeze', 'functools:lru_cache'),
  *('flax.linen:Module', 'os:system', 'collections:Counter', 'optax:sgd(1)'),
)


@pytest.mark.parametrize(
  ('config', 'path'),
  [
    *((POINTS, f'diffusion.{name}') for name in ('schedule', 'prediction')),
    *((POINTS, f'diffusion.{name}') for name in ('space', 'weighting', 'loss')),
    *((POINTS, f'diffusion.{name}') for name in ('times', 'error')),
    (POINTS, 'optimizer.schedule'),
    *((POINTS, f'sampling.{name}') for name in ('sampler', 'threshold')),
    (POINTS, 'sampling.guidance'),
    *((CATEGORIES, f'diffusion.{name}') for name in ('process', 'schedule')),
    *((CATEGORIES, f'diffusion.{name}') for name in ('loss', 'times')),
    (CATEGORIES, 'sampling.sampler'),
    (AUTOENCODER, 'diffusion.likelihood'),
    (AUTOENCODER, 'diffusion.adversary'),
  ],
)
def test_another_thing_is_refused_when_the_configuration_is_built(config, path):
  section, name = path.split('.')
  for wrong in WRONG:
    with pytest.raises(ValueError, match=f'^--{path}=') as caught:
      tiny.changed(config, **{section: {name: wrong}})
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('wrong', WRONG)
def test_a_tracker_takes_something_of_the_run_and_is_not_called_early(wrong):
  with pytest.raises(ValueError, match='^--log='):
    dataclasses.replace(tiny.config, log=wrong)
  with pytest.raises(ValueError, match=r'^--log=tensorboard\(3\)'):
    dataclasses.replace(tiny.config, log='tensorboard(3)')


@pytest.mark.parametrize('wrong', WRONG[:-2])
def test_a_network_is_a_module_of_our_arguments(wrong):
  config = dataclasses.replace(tiny.config, network=c.Custom(name=wrong))
  with pytest.raises(ValueError, match='^--network.name='):
    models.make(config, tiny.SPEC)


def test_an_error_shows_nothing_of_the_object():
  with pytest.raises(ValueError, match='environ is no function of known param'):
    dataclasses.replace(tiny.config, log='os:environ')


def test_arguments_of_an_optimizer_have_names():
  with pytest.raises(ValueError, match='give its arguments by name'):
    tiny.changed(tiny.config, optimizer={'name': 'adam(0.1)'})


def test_our_own_are_of_the_kinds():
  """Else the tests of kinds would refuse what is right."""
  for section in (c.Gaussian, c.Categorical, c.Sampling, c.Optimizer):
    for hint in typing.get_type_hints(section, include_extras=True).values():
      for note in getattr(hint, '__metadata__', ()):
        kind, trial = getattr(note, 'kind', None), getattr(note, 'trial', None)
        if not isinstance(kind, Kind):
          continue
        for name in note.table:
          if name in registry.BETAS:
            continue
          try:
            built = names.make(note.table, name, '--x', **trial())
          except ValueError as error:
            assert 'missing' in str(error)  # a teacher
            continue
          kind.check(built, name)
