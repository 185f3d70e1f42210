"""Latent diffusion of Fashion-MNIST with classes, in latents of 7x7x4.

  python train.py --config configs/fashion_autoencoder.py
  python train.py --config configs/fashion_latent.py
  python sample.py runs/fashion_latent --labels 0,1,2,3,4,5,6,7,8,9 --scale 2

Without classes: --condition.no-label; docs/latents.md measures 1,200 steps of
that. With classes it was not trained here as of 2026-11-30.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/fashion_latent',
  data=c.Data(name='tfds:fashion_mnist'),
  latent=c.Latent(autoencoder='runs/fashion_autoencoder'),
  condition=c.Condition(label=True),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.UNet(
    channels=48,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(7, 4),
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=200
  ),
  training=c.Training(
    num_steps=6000, batch_size=64, ema_decay=0.999, preview_every=1000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=100, threshold='none'),
  checkpoint=c.Checkpoint(every=500),
)
