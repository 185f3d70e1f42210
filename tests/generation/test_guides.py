"""Guidance by another run or a classifier, momentum, self-conditioning."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from exact import SCHEDULES, keys
from measured import make_classifier

from jaxdiff import config as c
from jaxdiff import (
  losses,
  models,
  parallel,
  predictions,
  runs,
  samplers,
  training,
)
from jaxdiff.generation import conditions
from jaxdiff.generation.flags import SamplerFlags
from jaxdiff.generation.job import job_of_run, load_run
from jaxdiff.generation.sampler import make_sampler
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs.config_json import save_config

SAMPLING = c.Sampling(sampler='ddim', steps=1, threshold='none')
NUM = 4


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
  """Programs for eight take several times as long to compile."""
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:1])


def make_run(workdir, factor=1.0, **changes):
  """Writes a run with random weights, multiplied by a factor."""
  config = dataclasses.replace(tiny.config, sampling=SAMPLING, **changes)
  params = jax.tree.map(
    lambda x: factor * jnp.asarray(x), tiny.random_params(config)
  )
  optimizer = optimizers.make(config.optimizer, config.training.num_steps)
  with runs.Checkpoints(workdir) as store:
    store.save(1, training.init_state(params, optimizer, jax.random.key(0)))
  save_config(workdir, c.describe(config, tiny.SPEC))
  return str(workdir)


def sampler_of(workdir, **flags):
  """A compiled function of the scale that draws samples."""
  mesh = parallel.local_mesh()
  run = load_run(workdir, SamplerFlags(**flags), mesh)
  rows = conditions.uniform(run.model) if run.model.takes else conditions.NONE
  job = job_of_run(run, mesh, rows, num=NUM)
  index = np.arange(NUM)
  options = job.options(index)
  draw = lambda options: np.asarray(job.draw(job.params, options, index).x)
  return lambda scale=1.0: draw({**options, 'scale': scale})


@pytest.mark.slow
def test_a_weaker_run_guides(tmp_path):
  good, bad = make_run(tmp_path / 'a'), make_run(tmp_path / 'b', 0.5)
  at = sampler_of(good, guide=bad, scale=2.0)
  # Of one step the sample is the estimate.
  own, weaker = at(1.0), at(0.0)
  want = weaker + 3.0 * (own - weaker)
  np.testing.assert_allclose(at(3.0), want, atol=1e-3 * np.abs(want).max())
  np.testing.assert_allclose(own, sampler_of(good)(), rtol=1e-3, atol=1e-3)
  assert np.abs(own - weaker).max() > 0.1
  labelled = make_run(tmp_path / 'c', condition=c.Condition(label=True))
  for flags, text in {
    (('guide', bad),): 'no effect at scale 1',
    (('guide', labelled), ('scale', 2.0)): 'must have the data, the cond',
    (('scale', 2.0),): 'has no condition',
    (('guidance', 'apg'),): '--guidance is for guidance, .* no condition',
    (('guide', good), ('scale', 2.0)): 'has the same weights',
    (('guide', bad), ('classifier', bad)): 'not both',
  }.items():
    with pytest.raises(ValueError, match=text):
      sampler_of(good, **dict(flags))


def test_a_guide_of_other_data_or_another_estimate_is_refused(tmp_path):
  good = make_run(tmp_path / 'a')
  few = c.Gaussian(loss='shortcut')
  with pytest.raises(ValueError, match='by shortcut: it does not estimate'):
    sampler_of(good, guide=make_run(tmp_path / 'b', diffusion=few), scale=2.0)
  other = tmp_path / 'c'
  make_run(other)
  classes = tiny.SPEC._replace(data={'classes': ('cat', 'dog')})
  save_config(other, c.describe(runs.read_config(other)[0], classes))
  with pytest.raises(ValueError, match='must have the data'):
    sampler_of(good, guide=str(other), scale=2.0)


def test_a_classifier_guides(tmp_path):
  run, classifier = make_run(tmp_path / 'a'), str(tmp_path / 'classifier')
  make_classifier(classifier)
  at = sampler_of(run, classifier=classifier)
  plain, change = at(0.0), at(1.0) - at(0.0)
  assert np.abs(change).max() > 0
  near = 2e-3 * np.abs(change).max()
  np.testing.assert_allclose(at(3.0), plain + 3.0 * change, atol=near)
  labelled = make_run(tmp_path / 'c', condition=c.Condition(label=True))
  with pytest.raises(ValueError, match='without conditions, and .* takes lab'):
    sampler_of(labelled, classifier=classifier, scale=2.0)


@pytest.mark.slow
def test_momentum_of_apg(tmp_path):
  run = make_run(tmp_path / 'a', condition=c.Condition(label=True))
  flags = {'guidance': 'apg', 'steps': 2, 'scale': 3.0}
  plain, remembering = (
    sampler_of(run, **flags, **more)(3.0) for more in ({}, {'momentum': -0.5})
  )
  assert np.abs(plain - remembering).max() > 1e-3
  with pytest.raises(ValueError, match='--momentum is for --guidance apg'):
    sampler_of(run, scale=3.0, momentum=-0.5)
  with pytest.raises(ValueError, match='--guidance has no effect at scale 1'):
    sampler_of(run, guidance='apg')


@pytest.mark.slow
def test_a_self_conditioned_model_reads_its_last_estimate():
  config = tiny.changed(
    dataclasses.replace(tiny.config, sampling=SAMPLING),
    diffusion={'self_conditioning': True},
    sampling={'steps': 2},
  )
  model = models.make(config, tiny.SPEC)
  params = tiny.random_params(config)
  index, options = np.arange(2), {'seed': 0, 'eta': 0.0, 'augment': 0.0}
  found = make_sampler(model, config.sampling)(params, options, index).x
  prior_keys, step_keys = samplers.sample_keys(0, index)
  x, t = model.start(options, prior_keys, step_keys, index).x, jnp.ones(2)
  first = model.denoiser(params, {})(x, t)
  step = samplers.ddim(model.schedule)
  middle = step(
    lambda xt, t: first, step_keys, x, jnp.float32(1), jnp.float32(0.5)
  )
  want = model.denoiser(params, {'x0': first})(middle, 0.5 * t)
  np.testing.assert_allclose(found, want, atol=5e-3)
  assert np.abs(want - model.denoiser(params, {})(middle, 0.5 * t)).max() > 0.02


def test_half_of_the_examples_see_an_estimate():
  def apply(params, xt, t, cond, dropout_keys=None):
    return params + cond.get('x0', jnp.zeros_like(xt))

  twice = losses.self_conditioned(apply, predictions.x0, SCHEDULES['cosine'])
  x, t = jnp.zeros((400, 2)), jnp.full(400, 0.5)
  seen = twice(2.0, x, t, {}, keys(0, 400))
  assert set(np.unique(seen)) == {2.0, 4.0}
  assert abs(np.mean(seen == 4.0) - 0.5) < 0.1
  # The first estimate is data.
  slope = jax.jvp(lambda p: twice(p, x, t, {}, keys(0, 400)), (2.0,), (1.0,))[1]
  np.testing.assert_array_equal(slope, 1.0)
  np.testing.assert_array_equal(twice(2.0, x, t, {}), 2.0)
