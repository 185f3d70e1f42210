"""Improved DDPM on CIFAR-10: L_vlb (Nichol and Dhariwal 2021).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/iddpm_cifar10_vlb.py
  python -m jaxdiff.evaluation likelihood runs/iddpm_cifar10_vlb

iddpm_cifar10_hybrid.py with the bound alone as its loss. 52,546,438 parameters.
Hardware: several GPUs; not run here. Expected: at most 2.94 bits/dim and FID
11.47 with 4000 steps (table 2). t is drawn by the size of its last ten losses,
as in section 3.3.
"""

import dataclasses

from jaxdiff import config as c

hybrid = c.load_file('configs/papers/iddpm_cifar10_hybrid.py')
config = dataclasses.replace(
  hybrid,
  workdir='runs/iddpm_cifar10_vlb',
  diffusion=dataclasses.replace(hybrid.diffusion, loss='vlb', importance=True),
)
