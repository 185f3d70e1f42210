"""A model is a value that is built once, and knows nothing of names after."""

import collections
import sys
from pathlib import Path

import jax
import pytest
import tiny
from categories import TEXT

import jaxdiff
from jaxdiff import models, names, schedules
from jaxdiff.generation.sampler import make_sampler
from jaxdiff.networks.transformer import Transformer
from jaxdiff.networks.unet import UNet
from jaxdiff.schedules import mixing

ROOT = str(Path(jaxdiff.__file__).parent)
CASES = {
  'image': (tiny.config, tiny.SPEC, schedules.cosine, UNet, 10),
  'text': (TEXT, tiny.text_spec(), mixing.linear, Transformer, 12),
}


@pytest.fixture
def calls():
  """Counts the calls of Python functions while a function runs, by code."""

  def run(function):
    found, files = collections.Counter(), set()

    def count(frame, event, arg):
      if event == 'call':
        found[frame.f_code] += 1
        files.add(frame.f_code.co_filename)

    sys.setprofile(count)
    try:
      function()
    finally:
      sys.setprofile(None)
    return found, {file for file in files if file.startswith(ROOT)}

  return run


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_a_model_builds_each_of_its_parts_once(case, calls):
  config, spec, schedule, network, limit = case
  models.make(config, spec)  # imports
  names.parse.cache_clear()
  found, files = calls(lambda: models.make(config, spec))
  assert found[schedule.__code__] == 1
  assert found[network.__init__.__code__] == 1
  assert found[names.parse.__wrapped__.__code__] <= 10
  assert found[names.make.__code__] <= 10
  # Images: nine and the range checks. Categories: process and bound as well.
  assert len(files) <= limit, files


def test_nothing_is_parsed_while_a_model_is_traced(calls):
  model = models.make(tiny.config, tiny.SPEC)
  key = jax.random.key(0)
  params = jax.eval_shape(model.init, key)
  keys, batch = jax.random.split(key, 2), tiny.batch(tiny.config, tiny.SPEC, 2)
  batch['u'] = batch['x0'][:, 0, 0, 0]
  names.parse.cache_clear()
  found, _ = calls(lambda: jax.eval_shape(model.loss, params, keys, batch))
  assert not found[names.make.__code__]
  assert not found[names.parse.__wrapped__.__code__]


def test_a_sampler_uses_the_network_of_its_model(calls):
  model = models.make(tiny.config, tiny.SPEC)
  found, _ = calls(lambda: make_sampler(model, tiny.config.sampling))
  assert not found[UNet.__init__.__code__]
  assert not found[schedules.cosine.__code__]
