"""Tables of other T than 1000: samples of exact data, and the grids' times."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from exact import gaussian_denoiser, keys
from jax.scipy.special import ndtri
from nets import jit

from jaxdiff import config as c
from jaxdiff import models, samplers
from jaxdiff.config import registry

MEAN, STD = 0.8, 0.1
OF_TABLES = ('leading', 'leading(offset=1)', 'trailing', 'linspace')
OF_LEVELS = (
  'karras(sigma_min=0.05)',
  'polyexponential(sigma_min=0.05)',
  'log_snr(log_snr_max=6)',
)
FREE = ('uniform', 'quadratic', 'cosine', 'distorted', "distorted('cos')")


@pytest.mark.parametrize('terminal', [False, True])
@pytest.mark.parametrize('num_steps', [250, 4000])
@pytest.mark.parametrize('name', registry.BETAS)
def test_samples_have_the_mean_of_the_data(name, num_steps, terminal):
  diffusion = {'schedule': name, 'num_steps': num_steps}
  config = tiny.changed(
    tiny.config, diffusion={**diffusion, 'zero_terminal_snr': terminal}
  )
  config = tiny.changed(config, sampling={'steps': 25})
  model = models.make(config, c.Spec('image', (8, 8, 1)))
  denoise = gaussian_denoiser(model.schedule, MEAN, STD)
  # As many normals as rows, evenly spread: without an error of sampling.
  x = ndtri((jnp.arange(32) + 0.5) / 32)[:, None]
  draw = jit(
    lambda times: samplers.sample(
      samplers.ddim(model.schedule), denoise, keys(0, 32), x, times
    )
  )
  # The noise of t = 1 is infinite beside no data.
  levels = () if terminal else OF_LEVELS
  for grid in (*OF_TABLES, *FREE, *levels):
    sampling = tiny.changed(config, sampling={'times': grid}).sampling
    times = model.grid(sampling)
    np.testing.assert_allclose(
      draw(times).mean(), MEAN, atol=0.005, err_msg=grid
    )
    if grid in OF_TABLES:
      steps = times.astype(np.float64) * num_steps
      np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
      assert len(np.unique(times)) == 26


def test_a_grid_that_begins_among_data_is_refused():
  """600 of 1000 leading steps are the first 600: alpha is 0.73 sigma there."""
  sampling = tiny.config.sampling
  model = models.make(tiny.config, c.Spec('image', (8, 8, 1)))
  for steps, first in ((600, '0.6'), (5, '0.801')):
    config = tiny.changed(
      tiny.config, sampling={'times': 'leading', 'steps': steps}
    )
    with pytest.raises(ValueError, match=f'leading begins at {first} in'):
      model.grid(config.sampling)
  assert model.grid(sampling)[0] == 1
