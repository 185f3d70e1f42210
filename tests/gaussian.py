"""Gaussian data: its likelihood and its bound in closed form."""

import jax
import numpy as np
from exact import keys
from nets import jit

from jaxdiff import (
  schedules,
)

MEAN, STD = 0.3, 0.2
SHAPE = (2, 1)
BETAS = schedules.linear_betas(40, 1e-3, 0.3)
TIMES = np.linspace(1, 0, len(BETAS) + 1)


def gaussian_data(num, seed=10):
  draw = lambda key: MEAN + STD * jax.random.normal(key, SHAPE)
  return jit(jax.vmap(draw))(keys(seed, num))


def gaussian_bits(x):
  """-log N(x; MEAN, STD^2) in bits/dim, float64."""
  z = (np.asarray(x, np.float64) - MEAN) / STD
  nats = 0.5 * z**2 + np.log(STD * np.sqrt(2 * np.pi))
  return nats.mean(axis=(1, 2)) / np.log(2)


def log_snr_times(schedule, num_steps):
  """From 1 to 0, even in log-SNR: an even grid in t has steps at the data's
  end over which the SNR grows fourfold, however many they are."""
  ends = (float(schedules.log_snr(schedule, t)) for t in (1.0, 0.0))
  times = schedules.inverse(schedule, np.linspace(*ends, num_steps + 1))
  return np.asarray(times).clip(0, 1) * (np.arange(num_steps + 1) < num_steps)


def within(values, exact, atol=0.0):
  """The mean over examples is the exact one, to 4.5 standard errors."""
  values = np.asarray(values, np.float64)
  error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
  np.testing.assert_array_less(
    np.abs(values.mean(axis=0) - exact), 4.5 * error + atol
  )


def closed_form(variance):
  """(L_T, [L_n], L_0) of Gaussian data, bits/dim, in float64.

  The estimate's mean squared error at t is 1 / (1 / STD^2 + SNR); it is all a
  Gaussian's bound depends on.
  """
  product = np.cumprod(1 - BETAS)
  snr = product / (1 - product)
  mse = 1 / (1 / STD**2 + snr)
  prior = 0.5 * snr[-1] * (MEAN**2 + STD**2)
  small = BETAS[1:] * (1 - product[:-1]) / (1 - product[1:])
  model = small if variance == 'small' else BETAS[1:]
  ratio = small / model
  gain = np.sqrt(product[:-1]) * BETAS[1:] / (1 - product[1:])
  steps = 0.5 * (gain**2 * mse[1:] / model + ratio - 1 - np.log(ratio))
  data = 0.5 * (np.log(2 * np.pi / snr[0]) + mse[0] * snr[0])
  return tuple(x / np.log(2) for x in (prior, steps[::-1], data))
