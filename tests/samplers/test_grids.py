import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import schedules
from jaxdiff.samplers import grids

TABLE = schedules.from_betas(schedules.linear_betas())


def rho(schedule, t):
  alpha, sigma = schedule(jnp.asarray(t))
  return np.asarray(sigma / alpha)


def test_trailing_and_leading_steps_of_a_table():
  np.testing.assert_allclose(grids.trailing_times(4), [1, 0.75, 0.5, 0.25, 0])
  np.testing.assert_allclose(
    grids.trailing_times(3), [1, 0.667, 0.333, 0], rtol=1e-6
  )
  np.testing.assert_allclose(
    grids.leading_times(4), [0.751, 0.501, 0.251, 0.001, 0], rtol=1e-6
  )
  np.testing.assert_allclose(
    grids.leading_times(3, offset=1, last=1), [0.668, 0.335, 0.002, 0.001]
  )
  assert len(grids.trailing_times(1000)) == len(grids.leading_times(1000))
  np.testing.assert_allclose(
    grids.leading_times(1000), grids.uniform_times(1000)
  )


def test_karras_times_of_edm_are_uniform():
  # What the schedule is made for; the inverse has to find them.
  np.testing.assert_allclose(
    grids.karras_times(10, schedules.edm()), grids.uniform_times(10), atol=2e-6
  )


@pytest.mark.parametrize(
  'schedule', [schedules.cosine(), schedules.linear_vp(), TABLE]
)
def test_karras_levels(schedule):
  times = grids.karras_times(6, schedule, sigma_min=0.02, sigma_max=60.0)
  assert times.dtype == np.float32 and times.shape == (7,) and times[-1] == 0
  levels = np.linspace(60.0 ** (1 / 7), 0.02 ** (1 / 7), 6) ** 7
  np.testing.assert_allclose(rho(schedule, times[:-1]), levels, rtol=1e-4)


def test_log_snr_times():
  cosine = schedules.cosine()
  times = grids.log_snr_times(30, cosine)
  assert times[0] == 1 and times[-1] == 0
  found = schedules.log_snr(cosine, times)
  np.testing.assert_allclose(found, np.arange(-15, 16), atol=1e-3)
  flow = schedules.rectified_flow()
  times = grids.log_snr_times(4, flow, log_snr_min=-6, log_snr_max=6)
  found = schedules.log_snr(flow, times[:-1])
  np.testing.assert_allclose(found, [-6, -2, 2, 6], atol=1e-4)
  assert times[-1] == 0


def test_polyexponential_times():
  cosine = schedules.cosine()
  build = grids.polyexponential_times
  times = build(5, cosine, sigma_min=0.02, sigma_max=60.0, rho=2.0)
  ramp = np.linspace(1, 0, 5) ** 2
  levels = np.exp(ramp * np.log(60.0 / 0.02) + np.log(0.02))
  np.testing.assert_allclose(rho(cosine, times[:-1]), levels, rtol=1e-4)
  assert times[-1] == 0
  np.testing.assert_allclose(
    build(30, cosine), grids.log_snr_times(30, cosine), atol=1e-6
  )


def test_linspace_times_go_from_the_last_step_to_the_first():
  np.testing.assert_allclose(grids.linspace_times(4, 10), [1, 0.7, 0.4, 0.1, 0])
  np.testing.assert_allclose(
    grids.linspace_times(3, 10) * 10, [10, 5, 1, 0], rtol=1e-6
  )
  np.testing.assert_allclose(
    grids.linspace_times(50, 50), grids.uniform_times(50), atol=1e-7
  )


def test_grids_say_what_is_wrong():
  flow = schedules.rectified_flow()
  with pytest.raises(ValueError, match='sigma_max must be given'):
    grids.karras_times(4, flow, sigma_min=0.01)
  with pytest.raises(ValueError, match='sigma_min must be given'):
    grids.karras_times(4, TABLE)
  with pytest.raises(ValueError, match='log_snr_max must be given and lie'):
    grids.log_snr_times(4, schedules.cosine(), log_snr_max=20.0)
  with pytest.raises(ValueError, match='has no 11 to choose'):
    grids.trailing_times(11, 10)
  with pytest.raises(ValueError, match='not decreasing within a table of 10'):
    grids.leading_times(10, 10, offset=1)


def test_distorted_times_are_finer_where_they_say():
  built = {
    name: grids.distorted_times(8, name)
    for name in ('polydec', 'polyinc', 'cos', 'revcos')
  }
  np.testing.assert_allclose(built['polydec'], grids.quadratic_times(8))
  gaps = {name: -np.diff(times) for name, times in built.items()}
  for name, times in built.items():
    assert times.dtype == np.float32 and times[0] == 1 and times[-1] == 0
    assert (gaps[name] > 0).all()
    assert (
      gaps[name].argmin()
      in {
        'polydec': (7,),
        'polyinc': (0,),
        'cos': (0, 7),
        'revcos': (3, 4),
      }[name]
    )
  with pytest.raises(ValueError, match='distortion must be one of'):
    grids.distorted_times(8, 'polydecr')
