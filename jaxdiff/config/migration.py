"""Migration: config.json files and flags of older versions."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jaxdiff.config import networks, registry
from jaxdiff.config.config import Config
from jaxdiff.config.diffusion import Categorical, Gaussian

_NETWORKS = {
  'unet': networks.UNet,
  'dit': networks.DiT,
  'transformer': networks.Transformer,
  'graph_transformer': networks.GraphTransformer,
  'mlp': networks.MLP,
}


def migrated(saved: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content of a config.json in the form of today.

  Before 2026-11-28 one `diffusion` had the fields of Gaussian and categorical
  noise, `network` had a section for each architecture, and the modality was
  not written.

  Raises:
    ValueError: the run used something that is no longer there.
  """
  saved = dict(saved)
  diffusion, network = saved.get('diffusion'), saved.get('network')
  if isinstance(diffusion, dict) and 'kind' not in diffusion:
    saved['diffusion'] = _diffusion(diffusion)
  if isinstance(network, dict) and set(network) & set(_NETWORKS):
    saved['network'] = _network(network)
  spec = saved.get('spec')
  if isinstance(spec, dict) and 'modality' not in spec:
    graph = isinstance(spec.get('shape'), dict)
    text = spec.get('symbols') is not None
    modality = 'graph' if graph else 'text' if text else 'image'
    saved['spec'] = {'modality': modality, **spec}
  if isinstance(saved.get('sampling'), dict):
    saved['sampling'] = _sampling(saved['sampling'])
  return saved


def _sampling(old: Mapping[str, Any]) -> dict[str, Any]:
  """Until 2026-11-28 `dpmpp_2m_sde` had another name, and eta was 0."""
  sampler, eta = str(old.get('sampler')), old.get('eta', 0.0)
  name, _, rest = sampler.partition('(')
  if name != 'dpmpp_sde_2m':
    return dict(old)
  rest = f'({rest}' if 'eta' in rest else f'({eta})'
  return {**old, 'sampler': f'dpmpp_2m_sde{rest}', 'eta': 0.0}


def _diffusion(old: Mapping[str, Any]) -> dict[str, Any]:
  if old.get('importance') is not None:
    raise ValueError(
      'diffusion.importance, times drawn by the size of the loss, is no longer '
      'there: train with an older version'
    )
  process = old.get('process', 'gaussian')
  kind = Gaussian if process == 'gaussian' else Categorical
  names = {field.name for field in dataclasses.fields(kind)}
  new = {k: v for k, v in old.items() if k in names}
  if kind is Categorical:
    new['loss'] = old.get('loss') or 'nelbo'
    return {'kind': 'Categorical', **new}
  new |= {'space': old.get('loss'), 'loss': 'denoising'}
  if old.get('variance') not in (None, 'small', 'large'):
    scale = old.get('vlb_scale', 1e-3)
    hybrid = 'hybrid' if scale == 1e-3 else f'hybrid({scale})'
    new['loss'] = 'vlb' if old.get('objective') == 'vlb' else hybrid
  return {'kind': 'Gaussian', **new}


def _network(old: Mapping[str, Any]) -> dict[str, Any]:
  name = old.get('kind', 'unet')
  shared = {k: old[k] for k in ('dtype', 'remat') if k in old}
  kind = _NETWORKS.get(name, networks.UNet).__name__
  return {'kind': kind, **old.get(name, {}), **shared}


def renamed_flags(
  argv: Sequence[str] | None, default: Config
) -> tuple[list[str], Config]:
  """Translates flags of older versions, and those that choose a class.

    --network.unet.channels 8      --network.channels 8
    --network.kind dit             the network of that name
    --diffusion.process absorbing  Categorical, from a config of Gaussian
    --diffusion.loss eps           --diffusion.space eps
    --diffusion.objective vlb      --diffusion.loss vlb

  Returns:
    The flags, and the configuration that they start from.
  """
  words = list(sys.argv[1:] if argv is None else argv)
  flags: list[str] = []
  scale, objective = None, None
  i = 0
  while i < len(words):
    name, equals, value = words[i].partition('=')
    name = name.replace('_', '-')
    follows = not equals and i + 1 < len(words)
    value = words[i + 1] if follows else value
    skip = 2 if follows else 1
    if name == '--network.kind' and value in _NETWORKS:
      kind = _NETWORKS[value]
      if type(default.network) is not kind:
        default = dataclasses.replace(default, network=kind())
    elif name == '--diffusion.process' and value == 'gaussian':
      if type(default.diffusion) is not Gaussian:
        default = dataclasses.replace(default, diffusion=Gaussian())
    elif name == '--diffusion.objective':
      objective = value
    elif name == '--diffusion.vlb-scale':
      scale = value
    elif name == '--diffusion.loss' and value in registry.PREDICTIONS:
      flags += ['--diffusion.space', value]
    else:
      if name == '--diffusion.process':
        if type(default.diffusion) is not Categorical:
          default = dataclasses.replace(default, diffusion=Categorical())
      for old in _NETWORKS:
        long = f'--network.{old.replace("_", "-")}.'
        if name.startswith(long):
          name = '--network.' + name[len(long) :]
          words[i] = name + equals + (value if equals else '')
      flags.append(words[i])
      skip = 1
    i += skip
  learned = any(word.rpartition('=')[2] in ('learned',) for word in flags)
  named = any(word.startswith('--diffusion.loss') for word in flags)
  if (objective or scale or learned) and not named:
    loss = 'vlb' if objective == 'vlb' else 'hybrid'
    loss += f'({scale})' if scale and loss == 'hybrid' else ''
    flags += ['--diffusion.loss', loss]
  return flags, default
