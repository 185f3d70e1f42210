"""Registries: the names in a configuration -> their factories.

A new schedule, sampler, network or metric is one line here; one outside this
library needs no line, but its 'package.module:function' as the name (see
`jaxdiff.names`). A factory is imported when its name is used, and is given
those values of the context for which it has a parameter:

  schedules     num_steps, of tables of betas
  samplers      schedule, process, predictor, num_steps; for ddim and those
                outside also eta, --sampling.eta
  grids         schedule, num_steps, table_steps
  networks      out_channels or num_categories, num_classes, text_dim, ...
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxdiff import names, predictions
from jaxdiff.losses import weightings
from jaxdiff.names import Table, Value

SCHEDULES: Table = {
  'cosine': 'jaxdiff.schedules:cosine',
  'linear_vp': 'jaxdiff.schedules:linear_vp',
  'sub_vp': 'jaxdiff.schedules:sub_vp',
  've': 'jaxdiff.schedules:ve',
  'edm': 'jaxdiff.schedules:edm',
  'rectified_flow': 'jaxdiff.schedules:rectified_flow',
  'laplace': 'jaxdiff.schedules:laplace',
  'linear_log_snr': 'jaxdiff.schedules:linear_log_snr',
}

# Tables of T betas, of which `schedules.from_betas` makes a schedule.
BETAS: Table = {
  'linear_betas': 'jaxdiff.schedules:linear_betas',
  'scaled_linear_betas': 'jaxdiff.schedules:scaled_linear_betas',
  'cosine_betas': 'jaxdiff.schedules:cosine_betas',
  'sigmoid_betas': 'jaxdiff.schedules:sigmoid_betas',
}

PREDICTIONS: Table = {
  'x0': Value(predictions.x0),
  'eps': Value(predictions.eps),
  'v': Value(predictions.v),
  'velocity': Value(predictions.velocity),
  'score': Value(predictions.score),
  'edm': predictions.edm,
  'eps_residual': Value(predictions.eps_residual),
}


WEIGHTINGS: Table = {
  'x0': Value(weightings.x0),
  'simple': Value(weightings.simple),
  'v': Value(weightings.v),
  'velocity': Value(weightings.velocity),
  'clipped_velocity': 'jaxdiff.losses.weightings:clipped_velocity',
  'truncated_snr': Value(weightings.truncated_snr),
  'min_snr': 'jaxdiff.losses.weightings:min_snr',
  'p2': 'jaxdiff.losses.weightings:p2',
  'sigmoid': 'jaxdiff.losses.weightings:sigmoid',
  'edm': 'jaxdiff.losses.weightings:edm',
}

ERRORS: Table = {
  'square': Value(jnp.square),
  'abs': Value(jnp.abs),
  'huber': 'jaxdiff.losses:huber',
  'pseudo_huber': 'jaxdiff.losses:pseudo_huber',
}

GAUSSIAN_LOSSES: Table = {
  'consistency': 'jaxdiff.losses.consistency:consistency',
  'consistency_distillation': 'jaxdiff.losses.consistency:distillation',
  'denoising': 'jaxdiff.losses:denoising',
  'hybrid': 'jaxdiff.losses.learned_variance:hybrid',
  'mean_flow': 'jaxdiff.losses.flow_maps:mean_flow',
  'nelbo': 'jaxdiff.models.gaussian:nelbo',
  'progressive': 'jaxdiff.losses.progressive:progressive',
  'shortcut': 'jaxdiff.losses.flow_maps:shortcut',
  'vlb': 'jaxdiff.losses.learned_variance:variational',
}
# Those of a network that is told two times, those with a teacher, those whose
# estimate is where the ODE ends, and all of which it is not E[x0 | xt].
TWO_TIMES = ('mean_flow', 'shortcut')
DISTILLING = ('progressive', 'consistency_distillation')
CONSISTENCY = ('consistency', 'consistency_distillation')
ENDS = ('progressive', *CONSISTENCY)

TIME_SAMPLINGS: Table = {
  'continuous': 'jaxdiff.losses.time_sampling:continuous',
  'grid': 'jaxdiff.losses.time_sampling:grid',
  'logit_normal': 'jaxdiff.losses.time_sampling:logit_normal',
  'log_normal': 'jaxdiff.losses.time_sampling:log_normal',
}

SAMPLERS: Table = {
  'ancestral': 'jaxdiff.samplers:ancestral',
  'ancestral_interpolated': 'jaxdiff.samplers:ancestral_interpolated',
  'annealed_langevin': 'jaxdiff.samplers:annealed_langevin',
  'ddim': 'jaxdiff.samplers:ddim',
  'deis': 'jaxdiff.samplers:deis',
  'dpm_2': 'jaxdiff.samplers:dpm_2',
  'dpm_2_ancestral': 'jaxdiff.samplers:dpm_2_ancestral',
  'dpmpp_2m': 'jaxdiff.samplers:dpmpp_2m',
  'dpmpp_2m_sde': 'jaxdiff.samplers:dpmpp_2m_sde',
  'dpmpp_2s': 'jaxdiff.samplers:dpmpp_2s',
  'dpmpp_2s_ancestral': 'jaxdiff.samplers:dpmpp_2s_ancestral',
  'dpmpp_3m': 'jaxdiff.samplers:dpmpp_3m',
  'dpmpp_3m_sde': 'jaxdiff.samplers:dpmpp_3m_sde',
  'dpmpp_sde': 'jaxdiff.samplers:dpmpp_sde',
  'edm_stochastic': 'jaxdiff.samplers:edm_stochastic',
  'euler': 'jaxdiff.samplers:euler',
  'euler_maruyama': 'jaxdiff.samplers:euler_maruyama',
  'flow_map': 'jaxdiff.samplers:flow_map',
  'heun': 'jaxdiff.samplers:heun',
  'lcm': 'jaxdiff.samplers:lcm',
  'lms': 'jaxdiff.samplers:lms',
  'plms': 'jaxdiff.samplers:plms',
  'pndm': 'jaxdiff.samplers:pndm',
  'predictor_corrector': 'jaxdiff.samplers:predictor_corrector',
  'rk4': 'jaxdiff.samplers:rk4',
  'sa_solver': 'jaxdiff.samplers:sa_solver',
  'unipc': 'jaxdiff.samplers:unipc',
}
# The samplers of which --sampling.eta is a setting, and those with a variance.
# SDE solvers have an eta of their own, 1: dpmpp_sde(0.5) changes it.
WITH_ETA = ('ddim',)
WITH_VARIANCE = ('ancestral', 'predictor_corrector')


def takes_eta(sampler: str) -> bool:
  """Tells whether --sampling.eta has an effect; outside the library it may."""
  call = names.parse(sampler, '--sampling.sampler')
  name, colon, _ = call.name.partition(':')
  outside = colon and name not in WITH_VARIANCE
  return bool(outside or name in WITH_ETA) and 'eta' not in call.kwargs


def check_eta(flag: str, *samplers: str) -> None:
  """Raises ValueError where a flag of eta has no effect on the samplers."""
  if not any(map(takes_eta, samplers)):
    raise ValueError(
      f'{flag} is for {" and ".join(WITH_ETA)}, not for {", ".join(samplers)}; '
      "solvers of the SDE have an eta of their own, 1: 'dpmpp_sde(0.5)'"
    )


def eta_for(sampler: str, eta: Any) -> dict[str, Any]:
  """Returns --sampling.eta for the context of a sampler, where it is for it."""
  return {'eta': eta} if takes_eta(sampler) else {}


CATEGORICAL_SAMPLERS: Table = {
  'ancestral': 'jaxdiff.samplers:ancestral',
  'greedy_tail': 'jaxdiff.models.unmasking:greedy_tail',
  'rate_matrix': 'jaxdiff.models.unmasking:rate_matrix',
  'remasked': 'jaxdiff.models.unmasking:remasked',
  'surest_first': 'jaxdiff.models.unmasking:surest_first',
}

GRIDS: Table = {
  'uniform': 'jaxdiff.samplers:uniform_times',
  'quadratic': 'jaxdiff.samplers:quadratic_times',
  'karras': 'jaxdiff.samplers:karras_times',
  'log_snr': 'jaxdiff.samplers:log_snr_times',
  'trailing': 'jaxdiff.samplers:trailing_times',
  'leading': 'jaxdiff.samplers:leading_times',
  'polyexponential': 'jaxdiff.samplers:polyexponential_times',
  'linspace': 'jaxdiff.samplers:linspace_times',
  'distorted': 'jaxdiff.samplers:distorted_times',
  'cosine': 'jaxdiff.samplers:cosine_times',
}

THRESHOLDS: Table = {
  'none': 'jaxdiff.guidance:unchanged',
  'clip': 'jaxdiff.guidance:clip',
  'dynamic': 'jaxdiff.guidance:dynamic_threshold',
}

GUIDANCE: Table = {
  'classifier_free': 'jaxdiff.guidance:classifier_free',
  'apg': 'jaxdiff.guidance:apg',
}

# Categories: (schedule, probs or num_classes, estimate, ...) -> Process.
PROCESSES: Table = {
  'absorbing': 'jaxdiff.processes:categorical',
  'uniform': 'jaxdiff.processes:categorical',
  'marginal': 'jaxdiff.processes:categorical',
  'ordinal': 'jaxdiff.processes:ordinal',
}

# The processes with a category MASK of their own.
MASKING = ('absorbing',)
# Those that redraw from one distribution.
REDRAWING = ('absorbing', 'uniform', 'marginal')

CATEGORICAL_SCHEDULES: Table = {
  'linear': 'jaxdiff.schedules.mixing:linear',
  'log_linear': 'jaxdiff.schedules.mixing:log_linear',
  'cosine': 'jaxdiff.schedules.mixing:cosine',
  'squared_cosine': 'jaxdiff.schedules.mixing:squared_cosine',
  'offset_cosine': 'jaxdiff.schedules.mixing:offset_cosine',
  'mutual_information': 'jaxdiff.schedules.mixing:mutual_information',
}

CATEGORICAL_LOSSES: Table = {
  'nelbo': 'jaxdiff.losses.elbo:nelbo',
  'variational': 'jaxdiff.losses.elbo:variational',
  'cross_entropy': 'jaxdiff.models.categorical:cross_entropy',
}

OPTIMIZERS = {
  'adam': 'optax:adam',
  'adamw': 'optax:adamw',
  'lion': 'optax:lion',
  'muon': 'optax.contrib:muon',
  'schedule_free': 'optax.contrib:schedule_free_adamw',
  'sgd': 'optax:sgd',
}

LEARNING_RATES = {
  'constant': 'jaxdiff.models.optimizer:constant',
  'cosine': 'jaxdiff.models.optimizer:cosine',
  'linear': 'jaxdiff.models.optimizer:linear',
  'power': 'jaxdiff.models.optimizer:power',
}

# --log: (workdir, first, settings) -> Tracker.
TRACKERS: Table = {
  'none': 'jaxdiff.runs.trackers:none',
  'tensorboard': 'jaxdiff.runs.trackers:tensorboard',
  'trackio': 'jaxdiff.runs.trackers:trackio',
  'wandb': 'jaxdiff.runs.trackers:wandb',
}

# log p(x | z) of an autoencoder.
LIKELIHOODS: Table = {
  'laplace': 'jaxdiff.losses.autoencoding:laplace',
  'gaussian': 'jaxdiff.losses.autoencoding:gaussian',
}

# Networks that tell images from their reconstructions: patches to logits.
DISCRIMINATORS: Table = {
  'patch': 'jaxdiff.networks.discriminator:PatchDiscriminator',
}

# The class of a network's configuration -> its Flax module.
NETWORKS: Mapping[str, str] = {
  'UNet': 'jaxdiff.networks.unet:UNet',
  'DiT': 'jaxdiff.networks.dit:DiT',
  'EDM2': 'jaxdiff.networks.edm2:EDM2',
  'MLP': 'jaxdiff.networks.mlp:MLP',
  'Transformer': 'jaxdiff.networks.transformer:Transformer',
  'GraphTransformer': 'jaxdiff.networks.graph_transformer:GraphTransformer',
}
