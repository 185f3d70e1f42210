"""Autoencoder of emoji: 32x32 RGB as latents of 8x8x8.

  python train.py --config configs/emoji_autoencoder.py --data.name folder:PATH

689,083 parameters, 3,000 steps of 32. 9 CPU minutes, on two cores with other
work (2026-11-28, Python 3.13, jax 0.12.0.1). Expected: PSNR 29.0 dB, SSIM
0.916. Its latents are diffused by emoji_latent.py.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/emoji_autoencoder',
  data=c.Data(name='folder:emoji'),
  diffusion=c.Autoencoding(likelihood='gaussian(0.1)'),
  network=c.Autoencoder(
    latent_channels=8,
    channels=16,
    channel_mults=(1, 2, 4),
    num_res_blocks=1,
    num_groups=4,
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=3000, batch_size=32, ema_decay=0.998, preview_every=500
  ),
  checkpoint=c.Checkpoint(every=500),
)
