"""The PyTorch side of `benchmarks.time_to_quality`: diffusers' U-Net."""

import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.minutes import number_of_steps, seconds_each


def train(
  config_file: str, data_name: str, minutes: tuple[int, ...], out: Path
) -> tuple[list[int], list[float]]:
  """Trains by the recipe of a configuration, written in PyTorch.

  Returns:
    The steps of the minutes, and the seconds of processor time until each.
  """
  start = time.process_time()
  import torch

  from jaxdiff import config as c
  from jaxdiff import data
  from jaxdiff.models import optimizer as optimizers

  torch.set_num_threads(1)
  config = c.load_file(config_file)
  batch_size = config.training.batch_size
  model = network()
  print(f'{sum(p.numel() for p in model.parameters()):,} parameters')
  average = [p.detach().clone() for p in model.parameters()]
  optimizer = torch.optim.Adam(model.parameters(), fused=True)
  batches = data.batches(data.load(data_name), batch_size, seed=0)

  def step(rate: float, decay: float) -> float:
    x0 = next(batches)['x0']
    x0 = torch.from_numpy(np.moveaxis(x0, -1, 1).copy())
    # One time in each of as many parts of [0, 1]: stratified, as ours.
    t = (torch.randperm(batch_size) + torch.rand(batch_size)) / batch_size
    alpha, sigma = (x[:, None, None, None] for x in levels(t))
    eps = torch.randn_like(x0)
    v = model(alpha * x0 + sigma * eps, t)
    loss = torch.nn.functional.mse_loss(v, alpha * eps - sigma * x0)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(
      model.parameters(), config.optimizer.clip_norm
    )
    for group in optimizer.param_groups:
      group['lr'] = rate
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
      torch._foreach_lerp_(average, list(model.parameters()), 1 - decay)
    return loss.item()

  step(0.0, 1.0)
  each = seconds_each(lambda: step(0.0, 1.0))
  steps = number_of_steps(minutes, each)
  rate = optimizers.rate(config.optimizer, steps[-1])
  rates = np.asarray([float(rate(i)) for i in range(steps[-1])])
  seconds = []
  for i in (bar := tqdm(range(steps[-1]), desc='pytorch')):
    decay = min(config.training.ema_decay, (1 + i) / (10 + i))
    loss = step(rates[i], decay)
    if i % 50 == 0:
      bar.set_postfix(loss=f'{loss:.4f}')
    if i + 1 in steps:
      torch.save(average, out / f'{i + 1}.pt')
      seconds.append(time.process_time() - start)
  return steps, seconds


def levels(t):
  """The cosine schedule of a torch tensor of times: alpha and sigma."""
  import torch

  from jaxdiff import schedules

  return tuple(
    torch.from_numpy(np.array(x)) for x in schedules.cosine()(np.asarray(t))
  )


def network():
  """diffusers' U-Net on squares of 2x2 pixels: (xt, t in [0, 1]) -> v."""
  import diffusers
  import torch
  from torch import nn

  class Network(nn.Module):
    def __init__(self):
      super().__init__()
      self.unet = diffusers.UNet2DModel(
        sample_size=14,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        down_block_types=('DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'),
        norm_num_groups=8,
      ).to(memory_format=torch.channels_last)
      up = self.unet.up_blocks[0].upsamplers[0]
      # From 4 to 7 pixels; by itself it would double them.
      up.forward = lambda x, size: type(up).forward(up, x, (7, 7))

    def forward(self, xt, t):
      squares = nn.functional.pixel_unshuffle(xt, 2)
      (v,) = self.unet(squares, 1000 * t, return_dict=False)
      return nn.functional.pixel_shuffle(v, 2)

  return Network()


def reverse(xt, x0, level, level_s, eta: float):
  """Goes from xt to xs by DDIM (Song et al. 2021, eq. 12 and 16).

  Args:
    level: Alpha and sigma of xt, of a variance-preserving schedule.
    level_s: Those of xs.
    eta: 0 for DDIM, 1 for DDPM with the posterior's variance.
  """
  import torch

  (alpha, sigma), (alpha_s, sigma_s) = level, level_s
  noise = eta * sigma_s / sigma * (1 - (alpha / alpha_s) ** 2).sqrt()
  kept = (sigma_s**2 - noise**2).clip(0).sqrt()
  xs = alpha_s * x0 + kept * (xt - alpha * x0) / sigma
  return xs + noise * torch.randn_like(xt)


def draw(
  run_dir: Path,
  out: Path,
  num: int,
  step: int,
  seed: int,
  sampler_steps: int,
  eta: float,
) -> None:
  """Draws images with the averaged weights of a step; eta as for `reverse`."""
  import torch

  from jaxdiff.modalities import pictures
  from jaxdiff.samplers import grids

  model = network().eval()
  for param, value in zip(
    model.parameters(), torch.load(run_dir / f'{step}.pt'), strict=True
  ):
    param.data = value
  times = torch.from_numpy(np.array(grids.uniform_times(sampler_steps)))
  out.mkdir(exist_ok=True)
  torch.manual_seed(seed)
  for first in tqdm(range(0, num, 100), desc=f'pytorch, step {step}'):
    x = torch.randn(min(100, num - first), 1, 28, 28)
    with torch.inference_mode():
      for t, s in zip(times[:-1], times[1:], strict=True):
        alpha, sigma = level = levels(t)
        x0 = alpha * x - sigma * model(x, t.expand(len(x)))
        x = reverse(x, x0.clip(-1, 1), level, levels(s), eta)
    images = pictures.to_uint8(np.moveaxis(x.numpy(), 1, -1))
    for i, image in enumerate(images):
      pictures.save_png(image, out / f'{first + i:06d}.png')
