"""Training losses, one value for each example.

  Loss = (params, keys[B], batch) -> (per_example[B], metrics)

`regression` has the error of a prediction, in any space and with any of the
`weightings`, at times from `time_sampling`; `elbo` the losses from the bound;
`learned_variance` those of a network that also predicts a variance.
"""

from jaxdiff.losses.regression import (
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
  weight,
)

__all__ = [
  'Apply',
  'Batch',
  'Loss',
  'LossValue',
  'Noisy',
  'clean_apply',
  'corruption',
  'denoising',
  'huber',
  'offset_noise',
  'pseudo_huber',
  'weight',
]
