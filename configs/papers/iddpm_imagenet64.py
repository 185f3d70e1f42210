"""Improved DDPM on ImageNet at 64x64: L_hybrid (Nichol and Dhariwal 2021).

  python -m jaxdiff.data prepare tfds:downsampled_imagenet/64x64
  python train.py --config configs/papers/iddpm_imagenet64.py

121,063,942 parameters. Hardware: several GPUs; not run here. Expected: at most
3.57 bits/dim and FID 19.2 with 4000 steps (table 1; L_vlb, --diffusion.loss vlb
--diffusion.importance, has 3.53 and 40.1). Settings: README of
openai/improved-diffusion, "Unconditional ImageNet-64".
"""

import dataclasses

from jaxdiff import config as c

hybrid = c.load_file('configs/papers/iddpm_cifar10_hybrid.py')
config = dataclasses.replace(
  hybrid,
  workdir='runs/iddpm_imagenet64',
  data=c.Data(name='tfds:downsampled_imagenet/64x64'),
  network=dataclasses.replace(
    hybrid.network, channel_mults=(1, 2, 3, 4), dropout=0.0
  ),
  training=dataclasses.replace(hybrid.training, num_steps=1_500_000),
)
