"""The time that a network is told by a model of steps from zero."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.models import gaussian
from jaxdiff.models.networks import Network


@pytest.mark.parametrize('num_steps', [1000, 250])
def test_step_i_plus_1_of_ours_is_their_timestep_i(num_steps, monkeypatch):
  told = []

  def apply(params, xt, t, cond, dropout_keys=None):
    told.append(np.asarray(1000 * t))
    return xt

  network = Network(None, apply, None, ())
  monkeypatch.setattr(gaussian.networks, 'make', lambda *_, **__: network)
  step = np.array([0, 1, 17, num_steps - 1])
  t = jnp.asarray((step + 1) / num_steps, jnp.float32)
  for flag, expected in ((True, step), (False, 1000 * (step + 1) / num_steps)):
    changes = {
      'schedule': 'linear_betas',
      'num_steps': num_steps,
      'prediction': 'eps',
      'steps_from_zero': flag,
    }
    config = tiny.changed(tiny.config, diffusion=changes)
    model = models.make(config, c.Spec('image', (8, 8, 1)))
    model.denoiser({}, {})(jnp.ones((4, 8, 8, 1)), t)
    np.testing.assert_allclose(told[-1], expected, rtol=1e-5, atol=1e-4)
  # Below the first step there is no other.
  config = tiny.changed(config, diffusion={'steps_from_zero': True})
  model = models.make(config, c.Spec('image', (8, 8, 1)))
  model.denoiser({}, {})(jnp.ones((4, 8, 8, 1)), 0 * t)
  np.testing.assert_array_equal(told[-1], 0)
