"""Autoencoder of Fashion-MNIST: 28x28 grey as latents of 7x7x4.

  python -m jaxdiff.data prepare tfds:fashion_mnist
  python train.py --config configs/fashion_autoencoder.py

681,333 parameters. 3,000 steps of 32 on 20,000 of the training images: 8 min 38
s on two CPU cores that others used too (2026-11-28, Python 3.13, jax 0.12), and
PSNR 25.2 dB, SSIM 0.837 on 1,024 of the test images. Its latents are diffused
by fashion_latent.py.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/fashion_autoencoder',
  data=c.Data(name='tfds:fashion_mnist'),
  diffusion=c.Autoencoding(likelihood='gaussian(0.2)'),
  network=c.Autoencoder(
    latent_channels=4,
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
