"""Sample quality after so many minutes of training, compilation included: ours,
and diffusers' training example with the same U-Net.

  pip install torch diffusers
  python -m jaxdiff.classifier train tfds:fashion_mnist
  python -m benchmarks.time_to_quality ours --minutes 20 --out runs/ours_20
  python -m benchmarks.time_to_quality theirs --minutes 60 --out runs/theirs_60

Each trains, draws samples in 100 steps of DDIM and writes them to OUT/drawn,
and prints the command that measures them. The 1.6M-parameter U-Net of
`benchmarks.cases`, batches of 64.

Theirs: noise predicted on the linear schedule of 1,000 steps, AdamW at 1e-4
with 500 steps of warm-up and a cosine to 0, the average of weights of its
EMAModel. (diffusers, examples/unconditional_image_generation, its defaults and
--use_ema.)
"""

import dataclasses
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks import ours as our_side
from benchmarks.cases import CASES
from jaxdiff import config as configs
from jaxdiff import data
from jaxdiff.modalities import pictures

BATCH, STEPS = 64, 100  # of training; of the sampler
CONFIG = 'configs/fashion_mnist.py'


@dataclass(frozen=True)
class Options:
  """The set must be of 28x28 grey images."""

  side: Annotated[Literal['ours', 'theirs'], tyro.conf.Positional]
  minutes: float
  out: str
  data: str = 'tfds:fashion_mnist'
  num: int = 500
  features: str = 'classifier:runs/classifier_fashion_mnist'


def number_of_steps(left: float, each: float) -> int:
  """Computes how many steps of `each` seconds fit, with 3 % to spare."""
  steps = int(left / (1.03 * each))
  if steps < 10:
    raise SystemExit(
      f'a step takes {each:.2f} s, and once all is compiled {left:.0f} s are '
      'left: give more --minutes'
    )
  return steps


def flags_of(network: configs.UNet) -> list[str]:
  """Returns train.py's flags for Fashion-MNIST with this network."""
  default = configs.load_file(CONFIG).network
  flags = ['--config', CONFIG]
  for name, value in dataclasses.asdict(network).items():
    if value != getattr(default, name):
      values = value if isinstance(value, tuple | list) else (value,)
      flags += [f'--network.{name.replace("_", "-")}', *map(str, values)]
  return flags


def ours(options: Options, out: Path) -> Path:
  """Runs train.py for as many steps as fit, then sample.py."""
  start = time.monotonic()
  case = CASES['small']()
  batch = our_side.random_images(case, BATCH)
  side = our_side.train_step(case, batch)
  side.run()
  before = time.monotonic()
  for _ in range(10):
    side.run()
  each = (time.monotonic() - before) / 10
  # What it took to know the speed is part of the budget.
  left = 60 * options.minutes - 2 * (before - start)
  steps = number_of_steps(left, each)
  flags = [*flags_of(case.config.network), '--data.name', options.data]
  flags += ['--workdir', str(out), '--training.num-steps', str(steps)]
  warmup = min(case.config.optimizer.warmup_steps, steps // 10)
  flags += ['--optimizer.warmup-steps', str(warmup)]
  subprocess.run([sys.executable, 'train.py', *flags], check=True)
  minutes = (time.monotonic() - start) / 60
  print(f'{steps} steps in {minutes:.1f} minutes')
  drawn = out / 'drawn'
  flags = ['--sampler', 'ddim', '--steps', str(STEPS)]
  flags += ['--num', str(options.num), '--out', str(drawn)]
  subprocess.run([sys.executable, 'sample.py', str(out), *flags], check=True)
  return drawn


def theirs(options: Options, out: Path) -> Path:
  """Runs the loop of the example on our batches."""
  start = time.monotonic()
  import torch
  from diffusers import DDIMScheduler, DDPMScheduler
  from diffusers.optimization import get_scheduler
  from diffusers.training_utils import EMAModel

  from benchmarks import torch_peers

  model = torch_peers.network(CASES['small'](), 'diffusers')
  model.to(memory_format=torch.channels_last)
  optimizer = torch.optim.AdamW(
    model.parameters(), 1e-4, betas=(0.95, 0.999), weight_decay=1e-6
  )
  noise = DDPMScheduler(num_train_timesteps=1000, beta_schedule='linear')
  average = EMAModel(
    model.parameters(),
    decay=0.9999,
    use_ema_warmup=True,
    inv_gamma=1,
    power=0.75,
  )
  batches = data.batches(data.load(options.data), BATCH, seed=0)
  images = lambda x: torch.from_numpy(np.moveaxis(x, -1, 1).copy())

  def step(rate) -> float:
    x0 = images(next(batches)['x0'])
    eps, t = torch.randn_like(x0), torch.randint(0, 1000, (BATCH,))
    loss = torch.nn.functional.mse_loss(
      model(noise.add_noise(x0, eps, t), t), eps
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if rate:
      rate.step()
    optimizer.zero_grad()
    average.step(model.parameters())
    return loss.item()

  # The rate falls to 0 at the last step, so their number must be known. These
  # first steps are steps of the warm-up, at next to no rate.
  for group in optimizer.param_groups:
    group['lr'] = 1e-6
  step(None)
  before = time.monotonic()
  for _ in range(10):
    step(None)
  each = (time.monotonic() - before) / 10
  left = 60 * options.minutes - (time.monotonic() - start)
  steps = number_of_steps(left, each)
  for group in optimizer.param_groups:
    group['lr'] = group['initial_lr'] = 1e-4
  rate = get_scheduler(
    'cosine', optimizer, num_warmup_steps=500, num_training_steps=steps
  )
  for _ in (bar := tqdm(range(steps), desc='theirs')):
    loss = step(rate)
    bar.set_postfix(loss=f'{loss:.4f}')
  print(f'{steps} steps in {(time.monotonic() - start) / 60:.1f} minutes')

  average.copy_to(model.parameters())
  model.eval()
  sampler = DDIMScheduler(num_train_timesteps=1000, beta_schedule='linear')
  sampler.set_timesteps(STEPS)
  drawn = out / 'drawn'
  drawn.mkdir(parents=True, exist_ok=True)
  torch.manual_seed(0)
  for first in tqdm(range(0, options.num, 50), desc='sampling'):
    x = torch.randn(min(50, options.num - first), 1, 28, 28)
    with torch.inference_mode():
      for t in sampler.timesteps:
        x = sampler.step(model(x, t.expand(len(x))), t, x).prev_sample
    for i, image in enumerate(pictures.to_uint8(np.moveaxis(x.numpy(), 1, -1))):
      pictures.save_png(image, drawn / f'{first + i:05d}.png')
  return drawn


def main(options: Options) -> None:
  out = Path(options.out)
  out.mkdir(parents=True, exist_ok=True)
  drawn = {'ours': ours, 'theirs': theirs}[options.side](options, out)
  print(
    f'\npython -m jaxdiff.evaluation fid --samples {drawn} --reference '
    f'{options.data} --features {options.features} --num {options.num}'
  )


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
