"""Configuration of the process: Gaussian noise, categorical noise, or none."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from jaxdiff import names
from jaxdiff.config import kinds, registry
from jaxdiff.config.ranges import In, Name, NotNegative, Section, Steps

# Fields of Gaussian noise -> the parameter of a loss that they set.
PARAMETERS = {
  'times': 'times',
  'space': 'space',
  'weighting': 'weighting',
  'per_log_snr': 'per_log_snr',
  'error': 'error',
  'offset_noise': 'noise',
  'uncertainty': 'uncertainty',
}
Positions = Literal['independent', 'stratified', 'antithetic']


def _prediction(built: Any) -> None:
  from jaxdiff import schedules

  a, b = built(schedules.cosine(), 0.5)
  float(a), float(b)


_PREDICTION = kinds.Kind(
  'a function of a schedule and t that returns two numbers', _prediction
)
_WEIGHTING = kinds.numbers('a function of the log-SNR', 1, 0.0)
_ERROR = kinds.numbers('a function of a difference', 1, 0.5)
_TIMES = kinds.numbers('a function of u that returns a time', 1, 0.5)
_LOSS = kinds.function('a loss', 'params', 'keys', 'batch')
_PAIR = (np.zeros((1, 2)), np.zeros((1, 2)))
_LIKELIHOOD = kinds.numbers('an error of x and x_hat, [B]', 1, *_PAIR)
_CRITIC = kinds.module('x')


def _check_steps(*values: str) -> None:
  """Raises ValueError for names that are given a T of their own."""
  for value in values:
    if 'num_steps' in names.parse(value, '--diffusion').kwargs:
      raise ValueError(f'{value}: T is set by --diffusion.num-steps alone')


@dataclass(frozen=True)
class Gaussian(Section):
  """Gaussian noise: the schedule, the prediction and the loss.

  A name may have arguments: --diffusion.weighting 'min_snr(5)'.
  """

  prefix: ClassVar[str] = 'diffusion.'
  schedule: Annotated[
    str,
    Name(
      {**registry.SCHEDULES, **registry.BETAS}, kinds.gaussian, kinds.SCHEDULE
    ),
  ] = 'cosine'
  num_steps: Steps = 1000  # T, of tables of betas and losses of T steps
  steps_from_zero: bool = False  # the network is told T t - 1, as in diffusers
  # The network is given xt at unit size; False: xt as it is, as in NCSN++.
  scale_input: bool = True
  # The network is told log(sigma / alpha) / 4, and given data of the deviation
  # in prediction 'edm(0.5)' at unit size, as in EDM.
  log_sigma: bool = False

  prediction: Annotated[
    str, Name(registry.PREDICTIONS, kinds.gaussian, _PREDICTION)
  ] = 'v'
  # hybrid and vlb train a learned variance, nelbo the bound; mean_flow,
  # shortcut, consistency, progressive and others few steps.
  loss: Annotated[str, Name(registry.GAUSSIAN_LOSSES, kinds.loss, _LOSS)] = (
    'denoising'
  )
  # The prediction whose error the loss measures; None: that of the network.
  space: Annotated[
    str | None, Name(registry.PREDICTIONS, kinds.gaussian, _PREDICTION)
  ] = None

  times: Annotated[
    str, Name(registry.TIME_SAMPLINGS, kinds.gaussian, _TIMES)
  ] = 'continuous'
  positions: Positions = 'stratified'
  # Importance sampling of t (iDDPM): those of large losses more often.
  importance: bool = False
  zero_terminal_snr: bool = False  # tables of betas: no signal at t = 1
  # Multiplies sigma / alpha, for larger images (SD3).
  shift: Annotated[float, In('[0.001, 1000]')] = 1.0
  # Instead of space: a weight for the error of x0.
  weighting: Annotated[
    str | None, Name(registry.WEIGHTINGS, kinds.gaussian, _WEIGHTING)
  ] = None
  per_log_snr: bool = False  # weigh each nat of log-SNR alike

  error: Annotated[str, Name(registry.ERRORS, kinds.gaussian, _ERROR)] = (
    'square'
  )
  # Strength of a normal for each channel.
  offset_noise: Annotated[float, In('[0, 10]')] = 0.0
  variance: Literal['small', 'large', 'learned'] = 'small'
  # The network also reads its last estimate of x0.
  self_conditioning: bool = False
  uncertainty: bool = False  # divide the loss by what is learned of its size

  def check(self) -> None:
    super().check()
    _check_steps(self.schedule, self.times, self.loss)
    name = self.loss.partition('(')[0]
    learning = name in ('hybrid', 'vlb')
    fitting = ('learned',) if learning else ('small', 'large')
    if self.variance not in fitting:
      raise ValueError(
        '--diffusion.variance learned needs --diffusion.loss hybrid or vlb, '
        f'and only these train it; got {self.variance} with {self.loss}'
      )
    edm = self.prediction.partition('(')[0] == 'edm'
    if self.log_sigma and (self.steps_from_zero or not edm):
      raise ValueError(
        '--diffusion.log-sigma needs --diffusion.prediction edm, and no '
        f'--diffusion.steps-from-zero; got {self.prediction}'
      )
    if self.log_sigma and not self.scale_input:
      raise ValueError(
        '--diffusion.log-sigma needs --diffusion.scale-input True, got False'
      )
    if self.space is not None and self.weighting is not None:
      raise ValueError(
        'give --diffusion.space or --diffusion.weighting, not both: space '
        'eps is weighting simple'
      )
    if self.self_conditioning and name != 'denoising':
      raise ValueError(
        '--diffusion.self-conditioning needs --diffusion.loss denoising, got '
        f'{self.loss}'
      )
    loss = names.find(registry.GAUSSIAN_LOSSES, name, '--diffusion.loss')
    taken = set(inspect.signature(loss).parameters)
    # The bound is an even mean over t, or over its own grid.
    taken -= {'times'} if learning or name == 'nelbo' else set()
    wanted = {
      field: getattr(Gaussian, field)
      for field, parameter in PARAMETERS.items()
      if parameter not in taken
    }
    wanted |= {'times': 'grid'} if learning else {}
    for field, value in wanted.items():
      if getattr(self, field).__str__().partition('(')[0] != str(value):
        flag = field.replace('_', '-')
        raise ValueError(
          f'--diffusion.loss {self.loss} needs --diffusion.{flag} {value}, got '
          f'{getattr(self, field)}'
        )


@dataclass(frozen=True)
class Categorical(Section):
  """Noise on categories: text, graphs, pixels as categories."""

  prefix: ClassVar[str] = 'diffusion.'
  # absorbing | uniform | marginal | ordinal(width)
  process: Annotated[
    str, Name(registry.PROCESSES, kinds.categorical, kinds.PROCESS)
  ] = 'absorbing'

  schedule: Annotated[
    str,
    Name(registry.CATEGORICAL_SCHEDULES, kinds.categorical, kinds.SCHEDULE),
  ] = 'linear'
  num_steps: Steps = 1000  # T, of losses of T steps
  prediction: Literal['logits', 'log_ratios'] = 'logits'
  loss: Annotated[
    str, Name(registry.CATEGORICAL_LOSSES, kinds.categorical, _LOSS)
  ] = 'nelbo'
  times: Annotated[
    str, Name(registry.TIME_SAMPLINGS, kinds.gaussian, _TIMES)
  ] = 'continuous'
  positions: Positions = 'stratified'
  # Importance sampling of t (iDDPM): those of large losses more often.
  importance: bool = False

  def check(self) -> None:
    super().check()
    _check_steps(self.times, self.loss)
    name, times = (x.partition('(')[0] for x in (self.loss, self.times))
    # A bound is an even mean over t, or over its own grid.
    fitting = {
      'nelbo': ('continuous',),
      'variational': ('continuous',),
      'cross_entropy': ('continuous', 'grid', 'logit_normal'),
    }.get(name, (times,))
    if times not in fitting:
      raise ValueError(
        f'--diffusion.times for --diffusion.loss {self.loss} must be one of '
        f'{list(fitting)}, got {self.times}'
      )
    kind = self.process.partition('(')[0]
    if kind == 'ordinal' and self.prediction != 'logits':
      raise ValueError(
        f'--diffusion.process {self.process} needs --diffusion.prediction '
        f'logits, got {self.prediction}'
      )


@dataclass(frozen=True)
class Classification(Section):
  """No noise: a classifier of images, whose features measure samples."""

  prefix: ClassVar[str] = 'diffusion.'
  positions: ClassVar[Positions] = 'stratified'
  importance: ClassVar[bool] = False
  # Images are moved at random by up to so many pixels.
  shift: Annotated[int, In('[0, 64]')] = 1


@dataclass(frozen=True)
class Autoencoding(Section):
  """No noise: an autoencoder of images, whose latents a model may diffuse."""

  prefix: ClassVar[str] = 'diffusion.'
  positions: ClassVar[Positions] = 'stratified'
  importance: ClassVar[bool] = False
  # log p(x | z): laplace(scale) is an L1 error, gaussian(scale) an L2 error.
  likelihood: Annotated[str, Name(registry.LIKELIHOODS, dict, _LIKELIHOOD)] = (
    'laplace(0.1)'
  )
  kl_weight: NotNegative = 1.0  # 1: the evidence lower bound
  commitment: NotNegative = 0.25  # with a codebook
  # Features whose error is added: classifier:WORKDIR, dinov2:PATH, lpips:FILE.
  perceptual: str | None = None

  perceptual_weight: NotNegative = 1.0
  # A network trained to tell images from reconstructions: patch(width, depth).
  adversary: Annotated[
    str | None, Name(registry.DISCRIMINATORS, dict, _CRITIC)
  ] = None
  # Of its term, beside that which makes both equally steep at the last layer.
  adversarial_weight: NotNegative = 0.5
  adversarial_start: Annotated[int, In('[0, 2147483647]')] = 0  # its first step
