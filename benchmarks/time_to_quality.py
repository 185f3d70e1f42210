"""Sample quality after 5, 10, 20 and 60 minutes of a core: ours and PyTorch's.

  pip install torch diffusers
  python -m jaxdiff.data prepare tfds:fashion_mnist
  python -m jaxdiff.classifier train tfds:fashion_mnist
  python -m benchmarks.time_to_quality runs/time_to_quality

Both sides train at the same time, each on one core, by one recipe: that of
configs/fashion_mnist.py. PyTorch's has diffusers' `UNet2DModel` with the same
layers, on squares of 2x2 pixels as well. The learning rate falls to 0 at the
last of the minutes. Minutes are processor time, compilation included, so other
work on the machine does not count.

Then each draws samples in 20 steps of DDIM by its averaged weights, with
several seeds, and `evaluation fid` measures them. OUT/result.json has the
table, OUT/result.png the curves. A part that is there is not made again.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import matplotlib.pyplot as plt
import numpy as np
import tyro
from tqdm import tqdm

CONFIG, BATCH, SAMPLER_STEPS = 'configs/fashion_mnist.py', 64, 20
SIDES = ('ours', 'pytorch')


@dataclass(frozen=True)
class Options:
  """The set must be of 28x28 grey images."""

  out: Annotated[str, tyro.conf.Positional]
  minutes: tuple[int, ...] = (5, 10, 20, 60)  # multiples of the first
  data: str = 'tfds:fashion_mnist'
  num: int = 1000
  seeds: int = 3
  features: str = 'classifier:runs/classifier_fashion_mnist'
  side: Literal['ours', 'pytorch'] | None = None  # of a process of its own


def number_of_steps(minutes: tuple[int, ...], each: float) -> list[int]:
  """Returns the step at each of the minutes, of `each` seconds a step."""
  first = int(60 * minutes[0] / each)
  if first < 10:
    raise SystemExit(f'a step takes {each:.2f} s: give more --minutes')
  return [first * minute // minutes[0] for minute in minutes]


def ours(options: Options, out: Path) -> None:
  """Runs train.py for as many steps as fit, then sample.py."""
  from benchmarks import ours as our_side
  from jaxdiff import config as c

  config = c.load_file(CONFIG)
  case = our_side.Case(config, c.Spec('image', (28, 28, 1)), {})
  side = our_side.train_step(case, our_side.random_images(case, BATCH))
  side.run()
  steps = number_of_steps(options.minutes, seconds_each(side.run))
  flags = ['--config', CONFIG, '--data.name', options.data]
  flags += ['--workdir', str(out), '--training.num-steps', str(steps[-1])]
  flags += ['--checkpoint.every', str(steps[0])]
  flags += ['--checkpoint.keep-every', str(steps[0])]
  flags += ['--training.preview-every', str(steps[-1])]
  subprocess.run([sys.executable, 'train.py', *flags], check=True)
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  seconds = used.ru_utime + used.ru_stime
  _save_times(options, out, steps, [seconds * n / steps[-1] for n in steps])


def draw_ours(out: Path, num: int, minute: int, step: int, seed: int) -> None:
  flags = ['--sampler', 'ddim', '--steps', str(SAMPLER_STEPS)]
  flags += ['--checkpoint', str(step), '--seed', str(seed), '--num', str(num)]
  flags += ['--out', str(out / f'{minute}_{seed}')]
  subprocess.run([sys.executable, 'sample.py', str(out), *flags], check=True)


def pytorch(options: Options, out: Path) -> None:
  """Trains by the same recipe, written in PyTorch."""
  start = time.process_time()
  import torch

  from jaxdiff import config as c
  from jaxdiff import data
  from jaxdiff.models import optimizer as optimizers

  torch.set_num_threads(1)
  config = c.load_file(CONFIG)
  model = network()
  print(f'{sum(p.numel() for p in model.parameters()):,} parameters')
  average = [p.detach().clone() for p in model.parameters()]
  optimizer = torch.optim.Adam(model.parameters(), fused=True)
  batches = data.batches(data.load(options.data), BATCH, seed=0)

  def step(rate: float, decay: float) -> float:
    x0 = next(batches)['x0']
    x0 = torch.from_numpy(np.moveaxis(x0, -1, 1).copy())
    # One time in each of the 64 parts of [0, 1]: stratified, as ours.
    t = (torch.randperm(BATCH) + torch.rand(BATCH)) / BATCH
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
  steps = number_of_steps(options.minutes, each)
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
  _save_times(options, out, steps, seconds)


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


def draw_pytorch(
  out: Path, num: int, minute: int, step: int, seed: int
) -> None:
  import torch

  from jaxdiff.modalities import pictures
  from jaxdiff.samplers import grids

  model = network().eval()
  for param, value in zip(
    model.parameters(), torch.load(out / f'{step}.pt'), strict=True
  ):
    param.data = value
  times = torch.from_numpy(np.array(grids.uniform_times(SAMPLER_STEPS)))
  folder = out / f'{minute}_{seed}'
  folder.mkdir(exist_ok=True)
  torch.manual_seed(seed)
  for first in tqdm(range(0, num, 100), desc=f'pytorch {minute} {seed}'):
    x = torch.randn(min(100, num - first), 1, 28, 28)
    with torch.inference_mode():
      for t, s in zip(times[:-1], times[1:], strict=True):
        (alpha, sigma), (alpha_s, sigma_s) = levels(t), levels(s)
        v = model(x, t.expand(len(x)))
        x0 = (alpha * x - sigma * v).clip(-1, 1)
        x = alpha_s * x0 + sigma_s / sigma * (x - alpha * x0)
    images = pictures.to_uint8(np.moveaxis(x.numpy(), 1, -1))
    for i, image in enumerate(images):
      pictures.save_png(image, folder / f'{first + i:06d}.png')


def seconds_each(run: Callable[[], object], times: int = 20) -> float:
  """Measures the processor time of a call, the mean of several."""
  start = time.process_time()
  for _ in range(times):
    run()
  return (time.process_time() - start) / times


def _save_times(options, out: Path, steps: list[int], seconds) -> None:
  rows = zip(options.minutes, steps, seconds, strict=True)
  times = {m: {'step': n, 'minutes': s / 60} for m, n, s in rows}
  (out / 'times.json').write_text(json.dumps(times, indent=1))


def train(options: Options) -> None:
  """Trains both sides at once, each on a core of its own."""
  cores = sorted(os.sched_getaffinity(0))
  jobs = []
  for i, side in enumerate(SIDES):
    if not (Path(options.out) / side / 'times.json').exists():
      (Path(options.out) / side).mkdir(parents=True, exist_ok=True)
      command = [sys.executable, '-m', 'benchmarks.time_to_quality']
      core = cores[i % len(cores)]
      jobs.append(
        subprocess.Popen(
          ['taskset', '-c', str(core), *command, *sys.argv[1:], '--side', side]
        )
      )
  if any([job.wait() for job in jobs]):
    raise SystemExit('a side has failed: see above')


def measure(options: Options, out: Path, side: str) -> list[dict[str, float]]:
  """Draws and measures the samples of a side: a row for each of the minutes."""
  draw = {'ours': draw_ours, 'pytorch': draw_pytorch}[side]
  rows = []
  for minute, found in json.loads((out / 'times.json').read_text()).items():
    distances = []
    for seed in range(options.seeds):
      score = out / f'{minute}_{seed}.json'
      if not score.exists():
        draw(out, options.num, minute, found['step'], seed)
        command = [sys.executable, '-m', 'jaxdiff.evaluation', 'fid']
        command += ['--samples', str(out / f'{minute}_{seed}')]
        command += ['--reference', options.data, '--out', str(score)]
        command += ['--features', options.features, '--num', str(options.num)]
        subprocess.run(command, check=True)
      metrics = json.loads(score.read_text())['metrics']
      (name,) = (name for name in metrics if name.startswith('FD '))
      distances.append(metrics[name]['value'])
    rows.append(found | {'distances': distances})
  return rows


def main(options: Options) -> None:
  out = Path(options.out)
  if options.side:
    {'ours': ours, 'pytorch': pytorch}[options.side](
      options, out / options.side
    )
    return
  if any(minute % options.minutes[0] for minute in options.minutes):
    raise SystemExit('--minutes must be multiples of the first')
  train(options)
  result = {side: measure(options, out / side, side) for side in SIDES}
  (out / 'result.json').write_text(json.dumps(result, indent=1))
  figure, axes = plt.subplots(figsize=(5, 3.5), layout='constrained')
  for side, rows in result.items():
    minutes = [row['minutes'] for row in rows]
    distances = np.array([row['distances'] for row in rows])
    mean, std = (
      distances.mean(1),
      distances.std(1, ddof=min(1, options.seeds - 1)),
    )
    axes.errorbar(minutes, mean, std, label=side, marker='o', capsize=3)
    for row, a, b in zip(rows, mean, std, strict=True):
      print(f'{side:8} {row["minutes"]:5.1f} min {row["step"]:6} steps', end='')
      print(f'  {a:.3f} +- {b:.3f}')
  axes.set(xscale='log', yscale='log', xlabel='minutes of one core')
  axes.set_ylabel('Frechet distance')
  axes.legend()
  figure.savefig(out / 'result.png', dpi=150)


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
