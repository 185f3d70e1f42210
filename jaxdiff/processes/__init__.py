"""Processes: Gaussian and categorical noise, forward and one step back.

A process is functions of ONE example (t is a scalar beside x; `jax.vmap` makes
the batch):

  prior(key, shape) -> x1               a draw at t = 1
  corrupt(key, x0, t) -> xt             q(xt | x0)
  posterior(xt, x0, t, s) -> params     q(xs | xt, x0), s <= t
  reverse(key, xt, estimate, t, s)      a draw of xs, x0 replaced by its
                                        estimate
  terms                                 of the variational bound, see `Terms`

`gaussians` has the noise of images; `categorical` that of text and graphs and
`ordinal` that of ordered categories, both made by `transitions`; `remasking` a
reverse that masks again and `rate_matrix` one that jumps; `joint` and
`symmetric` make processes of processes.
"""

from jaxdiff.processes.categorical import absorbing, categorical, uniform
from jaxdiff.processes.gaussians import (
  forward_variance,
  gaussian,
  interpolated_log_variance,
  snr_ratio,
)
from jaxdiff.processes.ordinal import ordinal
from jaxdiff.processes.process import (
  Process,
  Terms,
  any_step,
  decoder,
  joint,
  rate_in_time,
  symmetric,
  tally,
)
from jaxdiff.processes.rate_matrix import rate_matrix
from jaxdiff.processes.remasking import remasked

__all__ = [
  'Process',
  'Terms',
  'absorbing',
  'any_step',
  'categorical',
  'decoder',
  'forward_variance',
  'gaussian',
  'interpolated_log_variance',
  'joint',
  'ordinal',
  'rate_in_time',
  'rate_matrix',
  'remasked',
  'snr_ratio',
  'symmetric',
  'tally',
  'uniform',
]
