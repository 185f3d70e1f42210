"""Samplers: times, steps between them, and `sample`, one `lax.scan`.

  Denoiser = (xt[B, ...], t[B]) -> estimate      E[x0 | xt], or logits
  Step = (denoiser, keys[B], xt, t, s) -> xs     t, s scalars, s < t
  Solver = (init, step)                          a Step with a memory

`sampling` has the loop, ancestral sampling and DDIM; `grids` the times;
`solvers` and `multistep` solve the probability-flow ODE, `stochastic` the SDE;
`mcmc` has Langevin dynamics; `categorical` and `unmasking` are for categories.
"""

from jaxdiff.samplers.grids import (
  karras_times,
  leading_times,
  log_snr_times,
  quadratic_times,
  trailing_times,
  uniform_times,
)
from jaxdiff.samplers.mcmc import (
  annealed_langevin,
  langevin,
  predictor_corrector,
)
from jaxdiff.samplers.multistep import dpmpp_2m, dpmpp_3m, plms, pndm, unipc
from jaxdiff.samplers.sampling import (
  Denoiser,
  Solver,
  Step,
  ancestral,
  ddim,
  denoiser,
  estimate,
  sample,
  sample_keys,
)
from jaxdiff.samplers.solvers import dpmpp_2s, encode, euler, heun, rk4
from jaxdiff.samplers.stochastic import (
  churn,
  dpmpp_sde_2m,
  edm_stochastic,
  euler_maruyama,
)

__all__ = [
  'Denoiser',
  'Solver',
  'Step',
  'ancestral',
  'annealed_langevin',
  'churn',
  'ddim',
  'denoiser',
  'dpmpp_2m',
  'dpmpp_2s',
  'dpmpp_3m',
  'dpmpp_sde_2m',
  'edm_stochastic',
  'encode',
  'estimate',
  'euler',
  'euler_maruyama',
  'heun',
  'karras_times',
  'langevin',
  'leading_times',
  'log_snr_times',
  'plms',
  'pndm',
  'predictor_corrector',
  'quadratic_times',
  'rk4',
  'sample',
  'sample_keys',
  'trailing_times',
  'uniform_times',
  'unipc',
]
