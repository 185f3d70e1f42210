"""Flags without effect: what each setting needs, checked on a command line."""

import dataclasses
from operator import attrgetter

from jaxdiff.config import registry
from jaxdiff.config.config import Config
from jaxdiff.config.diffusion import Categorical, Gaussian

# Settings -> those without which they have no effect.
_NEEDS = {
  'network.remat_policy': ('network.remat',),
  'condition.drop': ('condition.label', 'condition.text'),
  'condition.augment': ('condition.low_res',),
  'sampling.augment': ('condition.low_res',),
  'latent.num': ('latent.autoencoder',),
  'latent.cache': ('latent.autoencoder',),
  'diffusion.perceptual_weight': ('diffusion.perceptual',),
  'diffusion.adversarial_weight': ('diffusion.adversary',),
  'diffusion.adversarial_start': ('diffusion.adversary',),
  'lora.alpha': ('lora.rank',),
  'condition.sizes': ('condition.clip',),
  'parallel.timeout': ('parallel.coordinator',),
}
for _name in ('scale', 'guidance', 'interval', 'rescale'):
  _NEEDS[f'sampling.{_name}'] = ('condition.label', 'condition.text')
for _name in ('features', 'weights', 'resize', 'num'):
  _NEEDS[f'evaluation.{_name}'] = ('evaluation.every',)

# Settings of condition -> the kinds of condition.text that read them.
_OF_TEXT = {
  'length': ('bytes', 'bpe', 't5'),  # CLIP has its own
  'vocab_size': ('bpe',),
  # These are settings of an encoder that is trained.
  'width': ('bytes', 'bpe'),
  'depth': ('bytes', 'bpe'),
  'num_heads': ('bytes', 'bpe'),
  'clip': ('clip',),
  'pooled': ('clip',),
  'sizes': ('clip',),
  'sizes_dim': ('clip',),
  't5': ('t5',),
}


def check_effect(config: Config, before: Config) -> None:
  """Checks that each flag has an effect; a file may say more than it needs.

  Raises:
    ValueError: a setting without effect differs from `before`, the file's.
  """
  for path, needs in _NEEDS.items():
    section, _, name = path.partition('.')
    # A field of one kind of diffusion is None for the others.
    value, old = (
      getattr(getattr(c, section), name, None) for c in (config, before)
    )
    if value != old and not any(attrgetter(n)(config) for n in needs):
      raise ValueError(
        f'{_flag(path)} needs {" or ".join(map(_flag, needs))}, without which '
        'it has no effect'
      )
  for name, kinds in _OF_TEXT.items():
    value, old = (getattr(c.condition, name) for c in (config, before))
    if value != old and config.condition.text not in kinds:
      raise ValueError(
        f'{_flag(f"condition.{name}")} needs --condition.text '
        f'{" or ".join(kinds)}, without which it has no effect'
      )
  if config.sampling.eta != before.sampling.eta:
    registry.check_eta('--sampling.eta', config.sampling.sampler)
  rules, one = config.parallel.rules, config.parallel.fsdp == 1
  if one and rules != before.parallel.rules:
    raise ValueError('--parallel.rules needs --parallel.fsdp above 1')
  _check_guidance(config)
  if isinstance(config.diffusion, Gaussian | Categorical):
    return
  kind = type(config.diffusion).__name__
  num = config.sampling.num
  same_number = dataclasses.replace(before.sampling, num=num)
  for new, old in (
    (config.condition, before.condition),
    (config.sampling, same_number),
  ):
    for name, value in vars(new).items():
      if value != getattr(old, name):
        raise ValueError(
          f'{_flag(new.prefix + name)} has no effect: a model of diffusion '
          f'{kind} draws no samples'
        )


def _check_guidance(config: Config) -> None:
  """Raises ValueError for guidance away from what is never trained.

  The weights of --init may have met no condition in their own training.
  """
  c, scale = config.condition, config.sampling.scale
  if (c.label or c.text) and c.drop == 0 and scale != 1 and not config.init:
    raise ValueError(
      f'--sampling.scale {scale:g} needs a model that meets no condition in '
      'training: give --condition.drop above 0, or --sampling.scale 1'
    )


def _flag(path: str) -> str:
  return f'--{path}'.replace('_', '-')
