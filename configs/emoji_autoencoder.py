"""Autoencoder of emoji: 32x32 RGB as latents of 8x8x8.

  python train.py --config configs/emoji_autoencoder.py --data.name folder:PATH

689,083 parameters, 3,000 steps of 32. 9 CPU minutes, on two cores with other
work (2026-11-28, Python 3.13, jax 0.12.0.1). Expected: PSNR 29.0 dB, SSIM
0.916. Its latents are diffused by emoji_latent.py.
"""

import dataclasses

from jaxdiff import config as c

fashion = c.load_file('configs/fashion_autoencoder.py')
config = dataclasses.replace(
  fashion,
  workdir='runs/emoji_autoencoder',
  data=c.Data(name='folder:emoji'),
  diffusion=c.Autoencoding(likelihood='gaussian(0.1)'),
  network=dataclasses.replace(fashion.network, latent_channels=8),
)
