"""Samplers: times, steps between them, and `sample`, one `lax.scan`.

  Denoiser = (xt[B, ...], t[B]) -> estimate      E[x0 | xt], or logits
  Step = (denoiser, keys[B], xt, t, s) -> xs     t, s scalars, s < t
  Solver = (init, step)                          a Step with a memory

`sampling` has the loop, ancestral sampling and DDIM; `grids` the times;
`solvers`, `multistep` and `adams` solve the probability-flow ODE, `stochastic`
and `renoising` the SDE; `mcmc` has Langevin dynamics; `categorical` and
`unmasking` are for categories.
"""

from jaxdiff.samplers.adams import deis, lms, plms, pndm
from jaxdiff.samplers.grids import (
  cosine_times,
  distorted_times,
  karras_times,
  leading_times,
  linspace_times,
  log_snr_times,
  polyexponential_times,
  quadratic_times,
  trailing_times,
  uniform_times,
)
from jaxdiff.samplers.mcmc import (
  annealed_langevin,
  langevin,
  predictor_corrector,
)
from jaxdiff.samplers.multistep import dpmpp_2m, dpmpp_3m, sa_solver, unipc
from jaxdiff.samplers.renoising import (
  dpm_2_ancestral,
  dpmpp_2s_ancestral,
  renoised,
)
from jaxdiff.samplers.sampling import (
  Denoiser,
  Solver,
  Step,
  ancestral,
  ancestral_interpolated,
  ddim,
  denoised_last,
  denoiser,
  estimate,
  recalling,
  sample,
  sample_keys,
)
from jaxdiff.samplers.solvers import (
  dpm_2,
  dpmpp_2s,
  encode,
  euler,
  flow_map,
  heun,
  rk4,
)
from jaxdiff.samplers.stochastic import (
  churn,
  dpmpp_2m_sde,
  dpmpp_3m_sde,
  dpmpp_sde,
  edm_stochastic,
  euler_maruyama,
  lcm,
)

__all__ = [
  'Denoiser',
  'Solver',
  'Step',
  'ancestral',
  'ancestral_interpolated',
  'annealed_langevin',
  'churn',
  'ddim',
  'denoised_last',
  'deis',
  'denoiser',
  'cosine_times',
  'distorted_times',
  'dpm_2',
  'dpm_2_ancestral',
  'dpmpp_2m',
  'dpmpp_2s',
  'dpmpp_2s_ancestral',
  'dpmpp_3m',
  'dpmpp_3m_sde',
  'dpmpp_sde',
  'dpmpp_2m_sde',
  'edm_stochastic',
  'encode',
  'estimate',
  'euler',
  'euler_maruyama',
  'flow_map',
  'heun',
  'karras_times',
  'langevin',
  'lcm',
  'leading_times',
  'linspace_times',
  'lms',
  'log_snr_times',
  'plms',
  'pndm',
  'polyexponential_times',
  'predictor_corrector',
  'quadratic_times',
  'recalling',
  'renoised',
  'rk4',
  'sa_solver',
  'sample',
  'sample_keys',
  'trailing_times',
  'uniform_times',
  'unipc',
]
