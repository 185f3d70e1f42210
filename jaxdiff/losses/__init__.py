"""Training losses, one value for each example.

  Loss = (params, keys[B], batch) -> (per_example[B], metrics)

`regression` has the error of a prediction, in any space and with any of the
`weightings`; `times` says at which t, `importance` lets the loss itself say;
`learned_variance` has the losses of a network that also predicts a variance.
"""

from jaxdiff.losses.regression import (
  Apply,
  Batch,
  Loss,
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
  'Noisy',
  'clean_apply',
  'corruption',
  'denoising',
  'huber',
  'offset_noise',
  'pseudo_huber',
  'weight',
]
