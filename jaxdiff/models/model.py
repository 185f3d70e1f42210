"""The Model: everything that training, sampling and evaluation call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from jax import Array

from jaxdiff.config import Sampling, Spec

if TYPE_CHECKING:  # a model of one kind needs not the mathematics of all
  from jaxdiff.losses import Loss
  from jaxdiff.processes import Process
  from jaxdiff.samplers import Denoiser, Solver, Step
  from jaxdiff.samplers.categorical import Memory
  from jaxdiff.schedules import Schedule

Params = Any
Cond = Mapping[str, Array]
Options = Mapping[str, Any]  # traced: changing them never recompiles


class Start(NamedTuple):
  """The start of sampling at t = 1."""

  x: Any  # [B, ...]
  cond: Cond  # [B, ...] each
  hold: Callable[[Step | Solver], Step | Solver]  # keeps what is given
  known: Any = None  # bool, a tree like x: what is given; None: nothing
  size: Array | None = None  # [B] the number of elements; None: all


class Reconstruction(NamedTuple):
  """Images that were encoded and decoded."""

  images: Array  # [B, H, W, C]
  indices: Array | None = None  # int32 [B, h, w] of a codebook; None: without


class Model(NamedTuple):
  """Functions of a model; `params` are those of its network.

  spec          of its data
  takes         the conditions of its network, such as ('label',)
  schedule      the noise levels; None for categories
  process       for one example
  bins          values that a datum can have; None for others than 8-bit images
  init          key -> params
  loss          (params, keys[B], batch) -> (per_example[B], metrics)
  encode        (params, cond) -> cond, its tokens encoded once for all steps
  denoiser      (params, cond) -> Denoiser: E[x0 | xt], or logits
  weaker        (params, cond) -> Denoiser from which guidance leads away; None
                is `denoiser` with the null condition
  recalls       whether its denoiser reads cond['x0'], its last estimate
  block         how many elements are noisy at a time, from the left, while its
                denoiser reads those before in cond['past']; None: all
  memory        (params, cond, batch size) -> `samplers.categorical.Memory` of
                written blocks, which its denoiser reads in cond['kept']; None:
                it reads the text itself
  estimator     (params, cond) -> (xt, t) -> the estimate that `process.reverse`
                and `process.terms` take
  limit         (sampling, options, denoiser) -> Denoiser: a threshold of
                numbers, a temperature of logits
  solver        (sampling, options, params, cond) -> Step | Solver
  grid          sampling -> decreasing times [N + 1]
  start         (options, prior_keys[B], step_keys[B], index[B]) -> Start
  decode        (x0, frozen) -> data: of latents, images
  latents       (data, frozen, keys[B]) -> x0, the inverse of decode: of images
                the means of their latents, or with keys draws
  frozen        parameters that are not trained, of an autoencoder. What is
                compiled takes them as an argument: as constants they would be
                in the program. `decode`, `latents` and a loss that is given no
                'frozen' in its batch take these.
  reconstruct   (params, images) -> `Reconstruction`, of an autoencoder

  A classifier has spec, init and loss alone; an autoencoder also reconstruct.
  """

  spec: Spec
  init: Callable[[Array], Params]
  loss: Loss
  takes: tuple[str, ...] = ()
  schedule: Schedule | None = None
  process: Process | None = None
  bins: int | None = None
  encode: Callable[[Params, Cond], Cond] | None = None
  denoiser: Callable[[Params, Cond], Denoiser] | None = None
  weaker: Callable[[Params, Cond], Denoiser] | None = None
  recalls: bool = False
  block: int | None = None
  memory: Callable[[Params, Cond, int], Memory] | None = None
  estimator: Callable[[Params, Cond], Callable[[Any, Array], Any]] | None = None
  limit: Callable[[Sampling, Options, Denoiser], Denoiser] | None = None
  solver: Callable[[Sampling, Options, Params, Cond], Step | Solver] | None = (
    None
  )
  grid: Callable[[Sampling], Array] | None = None
  start: Callable[[Options, Array, Array, Array], Start] | None = None
  decode: Callable[..., Any] | None = None
  latents: Callable[..., Any] | None = None
  frozen: Params = None
  reconstruct: Callable[[Params, Array], Reconstruction] | None = None
