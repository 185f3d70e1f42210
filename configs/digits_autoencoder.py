"""Autoencoder of the digits: 8x8 scans as latents of 4x4x2.

  python train.py --config configs/digits_autoencoder.py

With the digits_latent.py beside it, the smallest latent diffusion.
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
