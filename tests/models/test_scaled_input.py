"""The size at which a network is given xt."""

import numpy as np
import pytest

from jaxdiff import schedules
from jaxdiff.config import Gaussian
from jaxdiff.models.networks import scaled

SCHEDULE = schedules.ve(0.02, 100.0)
T = np.array([0.1, 0.9], np.float32)


def seen(**fields):
  c = Gaussian(schedule='ve(0.02, 100.0)', prediction='eps', **fields)
  apply = lambda params, xt, t, cond, keys: xt
  return scaled(apply, SCHEDULE, c)(None, np.ones((2, 3)), T, {})


def test_xt_has_unit_size_unless_it_is_to_stay():
  sigma = np.asarray(SCHEDULE(T).sigma)[:, None]
  unit = 1 / np.sqrt(1 + sigma**2) * np.ones((1, 3))
  np.testing.assert_allclose(seen(), unit, rtol=1e-5)
  np.testing.assert_array_equal(seen(scale_input=False), np.ones((2, 3)))


def test_a_network_that_is_told_log_sigma_is_given_unit_size():
  with pytest.raises(ValueError, match=r'needs --diffusion\.scale-input'):
    Gaussian(log_sigma=True, prediction='edm(0.5)', scale_input=False)
