"""The scheduler_config.json of diffusers: betas, prediction, sampler, times.

Their timestep i is our step i + 1 of T: the data are our step 0.
"""

from typing import NamedTuple

from jaxdiff.pretrained import configs
from jaxdiff.pretrained.configs import Config, field

_BETAS = {
  'scaled_linear': 'scaled_linear_betas',
  'linear': 'linear_betas',
  'squaredcos_cap_v2': 'cosine_betas',
}
_PREDICTIONS = {'epsilon': 'eps', 'v_prediction': 'v', 'sample': 'x0'}
# Their name -> ours.
_SAMPLERS = {
  'PNDMScheduler': 'plms',
  'DDIMScheduler': 'ddim',
  'DDPMScheduler': 'ancestral',
  'DEISMultistepScheduler': 'deis',
  'DPMSolverMultistepScheduler': 'dpmpp_2m',
  'EulerAncestralDiscreteScheduler': 'ancestral',
  'EulerDiscreteScheduler': 'euler',
  'HeunDiscreteScheduler': 'heun',
  'LMSDiscreteScheduler': 'lms',
  'UniPCMultistepScheduler': 'unipc',
}
# These end at step 1 with set_alpha_to_one=False, the others at the data.
_WITH_LAST_ALPHA = 'PNDMScheduler', 'DDIMScheduler'
_LEADING = *_WITH_LAST_ALPHA, 'DDPMScheduler'  # unless it is said
# Fields that change the numbers have one value here.
_FIXED = {
  'trained_betas': None,
  'clip_sample': False,
  'thresholding': False,
  'use_karras_sigmas': False,
  'use_exponential_sigmas': False,
  'use_beta_sigmas': False,
  'use_lu_lambdas': False,
  'use_flow_sigmas': False,
  'use_dynamic_shifting': False,
  'euler_at_final': False,
  'algorithm_type': 'dpmsolver++',
  'solver_type': 'midpoint',
  'solver_order': 2,
  'variance_type': None,
  'interpolation_type': 'linear',
  'timestep_type': 'discrete',
  'sigma_min': None,
  'sigma_max': None,
  'final_sigmas_type': 'zero',
  'flow_shift': 1.0,
}
_READ = (
  'num_train_timesteps',
  'beta_start',
  'beta_end',
  'beta_schedule',
  'prediction_type',
  'rescale_betas_zero_snr',
  'set_alpha_to_one',
  'skip_prk_steps',
  'steps_offset',
  'timestep_spacing',
  # Of what is fixed above, or of their float32.
  'clip_sample_range',
  'dynamic_thresholding_ratio',
  'sample_max_value',
  'lambda_min_clipped',
  'lower_order_final',
)


class Scheduler(NamedTuple):
  """The settings of a scheduler, in the names of `config.registry`.

  schedule: a table of betas, with its ends.
  num_steps: T.
  prediction: of the network.
  zero_terminal_snr: whether the table is changed to end without signal.
  sampler: of samples.
  times: of samples.
  """

  schedule: str
  num_steps: int
  prediction: str
  zero_terminal_snr: bool
  sampler: str
  times: str


def read_scheduler(config: Config) -> Scheduler:
  """Reads the config of a scheduler.

  Raises:
    ValueError: A field is unknown, or has a value that nothing here has.
  """
  kinds = tuple(_SAMPLERS)
  kind = configs.one_of(config, '_class_name', kinds)
  fixed = dict(_FIXED)
  if kind == 'DDPMScheduler':
    fixed['variance_type'] = 'fixed_small'
  if kind in ('DEISMultistepScheduler', 'UniPCMultistepScheduler'):
    fixed = {name: fixed[name] for name in ('trained_betas', 'thresholding')}
    config = {k: v for k, v in config.items() if k in (*fixed, *_READ)}
  configs.check_fields(config, fixed, _READ)
  name = configs.one_of(config, 'beta_schedule', ('linear', *_BETAS))
  schedule = _BETAS[name]
  if name != 'squaredcos_cap_v2':
    ends = (
      field(config, f'beta_{end}', default, 1)
      for end, default in (('start', 1e-4), ('end', 0.02))
    )
    schedule += '({!r}, {!r})'.format(*ends)
  sampler = _SAMPLERS[kind]
  if kind == 'PNDMScheduler' and not _flag(config, 'skip_prk_steps'):
    sampler = 'pndm'
  prediction = configs.one_of(config, 'prediction_type', tuple(_PREDICTIONS))
  return Scheduler(
    schedule,
    field(config, 'num_train_timesteps', 1000),
    _PREDICTIONS[prediction],
    _flag(config, 'rescale_betas_zero_snr'),
    sampler,
    _times(config, kind),
  )


def _times(config: Config, kind: str) -> str:
  spacings = ['leading', 'linspace', 'trailing']
  if kind not in _LEADING:
    spacings.insert(0, 'linspace')
  spacing = configs.one_of(config, 'timestep_spacing', spacings)
  if spacing != 'leading':
    return spacing
  offset = configs.one_of(config, 'steps_offset', (0, 1))
  one = _flag(config, 'set_alpha_to_one', kind == 'DDIMScheduler')
  last = 0 if one or kind not in _WITH_LAST_ALPHA else 1
  return f'leading(offset={offset}, last={last})'


def _flag(config: Config, name: str, default: bool = False) -> bool:
  return configs.flag(config, name, default)
