"""Autoencoder of the digits: 8x8 scans as latents of 4x4x2.

  python train.py --config configs/digits_autoencoder.py

165,583 parameters, 2,000 steps of 64. 1 min 29 s on two CPU cores that others
used too (2026-11-28, Python 3.13, jax 0.12). On the 300 test images: PSNR 27.2
dB, SSIM 0.965. Its latents are diffused by digits_latent.py.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/digits_autoencoder',
  data=c.Data(name='digits'),
  diffusion=c.Autoencoding(likelihood='gaussian(0.1)'),
  network=c.Autoencoder(
    latent_channels=2,
    channels=16,
    channel_mults=(1, 2),
    num_res_blocks=1,
    num_groups=4,
  ),
  optimizer=c.Optimizer(
    learning_rate=2e-3, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=2000, batch_size=64, ema_decay=0.998, preview_every=500
  ),
  checkpoint=c.Checkpoint(every=500),
)
