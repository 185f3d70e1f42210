"""Latent diffusion of the digits, in the latents of digits_autoencoder.py.

  python train.py --config configs/digits_autoencoder.py
  python train.py --config configs/digits_latent.py

2,000 steps of 64 in 4 min 51 s, where the autoencoder's figures were measured.
Loss 0.887. A classifier of real digits is sure of 500 samples 0.88 times as
often as of real ones (`python -m benchmarks.digits_quality runs/digits_latent
--samplers ancestral:50`), 0.93 times for digits.py: some samples are no digits.
With a KL weight of 1 the latents are nearly white noise, whose loss is 1.
Classes: --condition.label
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/digits_latent',
  data=c.Data(name='digits'),
  latent=c.Latent(autoencoder='runs/digits_autoencoder'),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.UNet(
    channels=32,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(2,),
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=2000, batch_size=64, ema_decay=0.998, preview_every=1000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=50, threshold='none'),
  checkpoint=c.Checkpoint(every=500),
)
