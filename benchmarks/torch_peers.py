"""PyTorch peers: networks of diffusers and of denoising-diffusion-pytorch that
do the work of one of our training steps, or of one of our samplings.

  pip install torch diffusers denoising-diffusion-pytorch
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.cases import Case
from benchmarks.measuring import Side
from jaxdiff.config import DiT

# All there are; by itself PyTorch leaves out a core's second thread.
torch.set_num_threads(len(os.sched_getaffinity(0)))
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# How the same network can be run; what is compiled has its channels last too.
VARIANTS = ('eager', 'channels_last', 'compiled')


class Transformer(nn.Module):
  """DiTTransformer2DModel: (xt, t) -> tensor; of class 0, it must have one."""

  def __init__(self, case: Case):
    super().__init__()
    self.dit = diffusers.DiTTransformer2DModel(**case.diffusers)

  def forward(self, xt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return self.dit(xt, t, torch.zeros_like(t), return_dict=False)[0]


class Diffusers(nn.Module):
  """UNet2DModel: (xt, t) -> tensor."""

  def __init__(self, case: Case):
    super().__init__()
    height, width, channels = case.shape
    self.unet = diffusers.UNet2DModel(
      sample_size=(height, width),
      in_channels=channels,
      out_channels=channels,
      **case.diffusers,
    )

  def forward(self, xt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return self.unet(xt, t, return_dict=False)[0]


def network(case: Case, package: str) -> nn.Module:
  """Builds the network of a peer."""
  if package == 'diffusers':
    dit = isinstance(case.config.network, DiT)
    kind = Transformer if dit else Diffusers
    return kind(case).to(DEVICE)
  from denoising_diffusion_pytorch import Unet

  return Unet(**case.lucidrains).to(DEVICE)


def names(case: Case) -> list[str]:
  """Lists the peers that can be imported, each with its variants."""
  packages = ['diffusers']
  if case.lucidrains:
    try:
      importlib.import_module('denoising_diffusion_pytorch')
      packages.append('denoising-diffusion-pytorch')
    except ImportError as error:
      print(f'without denoising-diffusion-pytorch: {error}')
  return [f'{package} {how}' for package in packages for how in VARIANTS]


def train_step(
  case: Case, name: str, batch: np.ndarray, bfloat16: bool = False
) -> Side:
  """Noise, prediction, gradient, clipping, Adam and the average of weights.

  Args:
    case: what is trained.
    name: one of `names`.
    batch: images [B, H, W, C] in [-1, 1], given from the host at each step.
    bfloat16: autocast.
  """
  package, how = name.split()
  model = network(case, package)
  forward = _prepared(model, how)
  params = list(model.parameters())
  average = [p.detach().clone() for p in params]
  optimizer = torch.optim.Adam(params, lr=2e-4, fused=True)
  noise = diffusers.DDPMScheduler(num_train_timesteps=1000)
  clip = case.config.optimizer.clip_norm
  images = torch.from_numpy(np.moveaxis(batch, -1, 1).copy())
  images = images.contiguous(memory_format=_layout(how))

  def run() -> float:
    x0 = images.to(DEVICE)
    eps = torch.randn_like(x0)
    t = torch.randint(0, 1000, (len(x0),), device=DEVICE)
    xt = noise.add_noise(x0, eps, t)
    with torch.autocast(DEVICE, torch.bfloat16, enabled=bfloat16):
      prediction = forward(xt, t)
    loss = functional.mse_loss(prediction.float(), eps)
    loss.backward()
    if clip:
      nn.utils.clip_grad_norm_(params, clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
      torch._foreach_lerp_(average, params, 1e-4)
    return loss.item()

  return Side(run, _count(model))


def evaluation(
  case: Case, name: str, batch_size: int, bfloat16: bool = False
) -> Side:
  """One evaluation of the network."""
  package, how = name.split()
  model = network(case, package).eval()
  forward = _prepared(model, how)
  height, width, channels = case.shape
  xt = torch.randn(batch_size, channels, height, width, device=DEVICE)
  xt = xt.contiguous(memory_format=_layout(how))
  t = torch.full((batch_size,), 500, device=DEVICE)

  def run() -> None:
    with _inference(bfloat16):
      forward(xt, t)
    _wait()

  return Side(run, _count(model))


def sampling(
  case: Case, name: str, batch_size: int, steps: int, bfloat16: bool = False
) -> Side:
  """DDIM, as the package's own sampler does it: `steps` evaluations."""
  package, how = name.split()
  model = network(case, package).eval()
  forward = _prepared(model, how)
  scheduler = diffusers.DDIMScheduler(num_train_timesteps=1000)
  scheduler.set_timesteps(steps)
  height, width, channels = case.shape

  def run() -> Any:
    x = torch.randn(batch_size, channels, height, width, device=DEVICE)
    x = x.contiguous(memory_format=_layout(how))
    with _inference(bfloat16):
      for t in scheduler.timesteps:
        eps = forward(x, t.to(DEVICE).expand(batch_size)).float()
        x = scheduler.step(eps, t, x, return_dict=False)[0]
    _wait()
    return x

  return Side(run, _count(model))


def _prepared(model: nn.Module, how: str) -> Callable[..., torch.Tensor]:
  if how != 'eager':
    model.to(memory_format=torch.channels_last)
  return torch.compile(model) if how == 'compiled' else model


def _layout(how: str) -> torch.memory_format:
  return torch.contiguous_format if how == 'eager' else torch.channels_last


@contextmanager
def _inference(bfloat16: bool) -> Iterator[None]:
  with (
    torch.inference_mode(),
    torch.autocast(DEVICE, torch.bfloat16, enabled=bfloat16),
  ):
    yield


def _wait() -> None:
  if DEVICE == 'cuda':
    torch.cuda.synchronize()


def _count(model: nn.Module) -> int:
  return sum(p.numel() for p in model.parameters())
