"""Noise schedules: t in [0, 1] -> NoiseLevel(alpha, sigma).

  xt = alpha(t) x0 + sigma(t) eps,  eps ~ N(0, I);  t = 0 is data, t = 1 prior

`levels` has the types and what all schedules share, `closed_forms` and `betas`
(DDPM's tables) the schedules by name, `mixing` those of categories.
"""

from jaxdiff.schedules.betas import (
  cosine_betas,
  from_betas,
  linear_betas,
  scaled_linear_betas,
  sigmoid_betas,
  zero_terminal_snr,
)
from jaxdiff.schedules.closed_forms import (
  cosine,
  edm,
  laplace,
  linear_log_snr,
  linear_vp,
  rectified_flow,
  shifted,
  sub_vp,
  ve,
)
from jaxdiff.schedules.levels import (
  NoiseLevel,
  Schedule,
  inverse,
  log_snr,
  variance_preserving,
)

__all__ = [
  'NoiseLevel',
  'Schedule',
  'cosine',
  'cosine_betas',
  'edm',
  'from_betas',
  'inverse',
  'laplace',
  'linear_betas',
  'linear_log_snr',
  'linear_vp',
  'log_snr',
  'rectified_flow',
  'scaled_linear_betas',
  'shifted',
  'sigmoid_betas',
  'sub_vp',
  'variance_preserving',
  've',
  'zero_terminal_snr',
]
