"""Improved DDPM on CIFAR-10: L_simple (Nichol and Dhariwal 2021).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/iddpm_cifar10_simple.py

The baseline of iddpm_cifar10_hybrid.py: the linear schedule, a fixed variance.
52,542,979 parameters. Hardware: several GPUs; not run here. Expected: at most
3.37 bits/dim and FID 2.90 with 4000 steps (table 2). With --diffusion.schedule
cosine_betas --network.dropout 0.3 3.26 and 3.05. The dropout of 0.1 is that of
the paper's appendix, from memory. The bound of the first step has beta_1 for a
variance, theirs the posterior's of the second.
"""

import dataclasses

from jaxdiff import config as c

hybrid = c.load_file('configs/papers/iddpm_cifar10_hybrid.py')
config = dataclasses.replace(
  hybrid,
  workdir='runs/iddpm_cifar10_simple',
  diffusion=dataclasses.replace(
    hybrid.diffusion,
    schedule='linear_betas',
    loss='denoising',
    variance='large',
  ),
  network=dataclasses.replace(hybrid.network, dropout=0.1),
)
