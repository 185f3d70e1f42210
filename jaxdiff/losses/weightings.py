"""Loss weightings: functions of the log-SNR, log_snr[...] -> weight[...].

Each is the weight of |x0_hat - x0|^2. `losses.denoising` converts it to the
network's prediction, by |x0_hat - x0|^2 = (sigma / d)^2 |y_hat - y|^2. With SNR
= alpha^2 / sigma^2 the weights of usual losses are

  mean squared error of x0         1                       `x0`
  of eps: simple; "SNR"            SNR                     `simple`
  of v; "SNR + 1"                  SNR + 1                 `v`
  of EDM's F                       SNR + 1 / sigma_data^2  `edm(sigma_data)`
  of rectified flow's velocity     (sqrt(SNR) + 1)^2       `velocity`

  edm(1) is v; min_snr(inf) is simple; p2(gamma=0) is simple.

A weight counts as often as times are drawn there. `per_log_snr=True` in
`losses.denoising` multiplies it by -d log_snr / dt: with t uniform, the weight
is then one for each nat of log-SNR, and the schedule no longer matters. So

  likelihood weighting g(t)^2 |score error|^2     simple, per_log_snr
  VDM++'s sigmoid                                 sigmoid, per_log_snr

where g(t)^2 = -sigma^2 d log_snr / dt; half of the former is the
continuous-time variational bound in nats.

Source: VDM++ (Kingma & Gao 2023), a table of most; score SDE's likelihood
weighting, Song et al. 2021, "Maximum likelihood training".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.checks import number

Weighting = Callable[[Array], Array]


def x0(log_snr: Array) -> Array:
  """Weight 1: the error of x0 itself."""
  return jnp.ones_like(log_snr)


def simple(log_snr: Array) -> Array:
  """Weight SNR: the error of eps, L_simple. (DDPM, Ho et al. 2020, eq. 14.)"""
  return jnp.exp(log_snr)


def v(log_snr: Array) -> Array:
  """Weight SNR + 1: the error of v. (Salimans & Ho 2022, section 4.)"""
  return jnp.exp(log_snr) + 1.0


def velocity(log_snr: Array) -> Array:
  """Weight (sqrt(SNR) + 1)^2: the error of eps - x0 on `rectified_flow`."""
  return jnp.square(jnp.exp(0.5 * log_snr) + 1.0)


def clipped_velocity(t_min: float = 0.05) -> Weighting:
  """Builds the weight 1 / max(t, t_min)^2 on `rectified_flow`.

  The error of the velocity (xt - x0) / t, its division no larger than at t_min.
  As a function of the SNR: min(sqrt(SNR) + 1, 1 / t_min)^2.

  Source: JiT (Li & He 2025), whose code divides so.
  """
  number('t_min', t_min, '(0, 1]')
  return lambda log_snr: jnp.minimum(velocity(log_snr), t_min**-2.0)


def truncated_snr(log_snr: Array) -> Array:
  """Weight max(SNR, 1). (Salimans & Ho 2022, section 4.)"""
  return jnp.maximum(jnp.exp(log_snr), 1.0)


def min_snr(gamma: float = 5.0) -> Weighting:
  """Builds the weight min(SNR, gamma). (Hang et al. 2023, section 3.4.)"""
  number('gamma', gamma, '(0, inf]')
  return lambda log_snr: jnp.minimum(jnp.exp(log_snr), gamma)


def p2(gamma: float = 1.0, k: float = 1.0) -> Weighting:
  """Builds P2's SNR / (k + SNR)^gamma. (Choi et al. 2022, eq. 8.)"""
  number('gamma', gamma, '[0, inf)')
  number('k', k, '(0, inf)')
  return lambda log_snr: jnp.exp(log_snr) / (k + jnp.exp(log_snr)) ** gamma


def sigmoid(bias: float = 0.0) -> Weighting:
  """Builds the weight SNR sigmoid(bias - log_snr).

  Source: VDM++ (Kingma & Gao 2023) section 4.
  """
  number('bias', bias, '(-inf, inf)')
  return lambda log_snr: jnp.exp(bias) * jax.nn.sigmoid(log_snr - bias)


def edm(sigma_data: float = 0.5) -> Weighting:
  """Builds EDM's weight SNR + 1 / sigma_data^2: of F, unit weight.

  Theirs is (sigma^2 + sigma_data^2) / (sigma sigma_data)^2, at sigma / alpha.

  Source: EDM (Karras et al. 2022) table 1.
  """
  number('sigma_data', sigma_data, '(0, inf)')
  return lambda log_snr: jnp.exp(log_snr) + 1.0 / sigma_data**2
