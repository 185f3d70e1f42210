"""Training losses, one value for each example.

  Loss = (params, keys[B], batch) -> (per_example[B], metrics)

`regression` has the error of a prediction, in any space and with any of the
`weightings`, at times from `time_sampling`; `elbo` the losses from the bound;
`learned_variance` those of a network that also predicts a variance;
`flow_maps`, `consistency` and `progressive` those of few steps. `importance`
draws times by the size of their last losses.
"""

from jaxdiff.losses.regression import (
  DISCRIMINATOR,
  Apply,
  Batch,
  Loss,
  LossValue,
  Noisy,
  clean_apply,
  corruption,
  denoising,
  huber,
  offset_noise,
  pseudo_huber,
  self_conditioned,
  weight,
)
from jaxdiff.losses.uncertainty import learned_uncertainty

__all__ = [
  'DISCRIMINATOR',
  'Apply',
  'Batch',
  'Loss',
  'LossValue',
  'Noisy',
  'clean_apply',
  'corruption',
  'denoising',
  'huber',
  'learned_uncertainty',
  'offset_noise',
  'pseudo_huber',
  'self_conditioned',
  'weight',
]
