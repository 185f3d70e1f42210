"""Noise removal: samples of a run that end with the estimate of x0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.generation.flags import SamplerFlags, configure
from jaxdiff.generation.sampler import make_sampler


def test_a_sample_ends_with_the_estimate():
  changes = {'steps': 2, 'sampler': 'heun', 'threshold': 'none'}
  config = tiny.changed(
    tiny.config,
    sampling=changes,
    diffusion={'schedule': 'edm(0.1, 80.0, 7.0)', 'prediction': 'edm(0.5)'},
  )
  ended = configure(config, SamplerFlags(denoise_last=True))
  model, params = models.make(config, tiny.SPEC), tiny.random_params(config)
  index, options = np.arange(2), {'seed': 0, 'eta': 0.0, 'augment': 0.0}
  draw = lambda config: jax.jit(make_sampler(model, config.sampling))(
    params, options, index
  )
  x = draw(config).x
  clean = jax.jit(model.denoiser(params, {}))(x, jnp.zeros(2))
  np.testing.assert_allclose(draw(ended).x, clean, rtol=1e-4, atol=1e-4)
  assert np.abs(clean - x).max() > 0.01


def test_the_last_estimate_sees_the_one_before():
  changes = {'steps': 2, 'sampler': 'ddim', 'threshold': 'none'}
  config = tiny.changed(tiny.config, sampling=changes)
  ended = configure(config, SamplerFlags(denoise_last=True))

  def denoiser(params, cond):
    value = 1.0 + cond['x0'] / 2 if 'x0' in cond else jnp.nan
    return lambda xt, t: jnp.zeros_like(xt) + value

  model = models.make(config, tiny.SPEC)
  model = model._replace(recalls=True, denoiser=denoiser)
  options = {'seed': 0, 'eta': 0.0, 'augment': 0.0}
  x = make_sampler(model, ended.sampling)({}, options, np.arange(2)).x
  np.testing.assert_allclose(x, 1.5, rtol=1e-6)  # 1 + (1 + 0/2) / 2


@pytest.mark.parametrize(
  ('recipe', 'message'),
  [
    ('digits_categories', r'--sampling\.denoise-last is for real numbers'),
    ('fashion_mean_flow', r'not for --sampling\.sampler flow_map'),
  ],
)
def test_models_without_an_estimate_of_numbers_are_refused(recipe, message):
  flags = ['--config', f'configs/{recipe}.py', '--sampling.denoise-last']
  with pytest.raises(ValueError, match=message):
    c.parse(flags)
