"""Latent diffusion LDM-8 on LSUN churches at 256x256 (Rombach et al. 2022).

  python -m jaxdiff.data prepare tfds:lsun/church_outdoor
  python train.py --config configs/papers/ldm8_lsun256.py

--latent.autoencoder is Stable Diffusion's, from the Hub, which is of 32x32x4 as
the paper's KL-f8. 294,966,916 parameters (table 12: 294 million). Hardware: one
A100; not run here. Expected: FID 4.02 with 400 DDIM steps, eta 0 (README of
CompVis/latent-diffusion, whose sampler takes every second step of 1000, so
500). Settings: table 12, and
configs/latent-diffusion/lsun_churches-ldm-kl-8.yaml there: an L1 error, and 8
heads everywhere.
"""

import dataclasses

from jaxdiff import config as c

ldm4 = c.load_file('configs/papers/ldm4_celebahq256.py')
config = dataclasses.replace(
  ldm4,
  workdir='runs/ldm8_lsun256',
  data=c.Data(name='tfds:lsun/church_outdoor', image_size=256, flip=True),
  latent=c.Latent(autoencoder='hf://stabilityai/sd-vae-ft-mse'),
  diffusion=dataclasses.replace(
    ldm4.diffusion,
    schedule='scaled_linear_betas(0.0015, 0.0155)',
    error='abs',
  ),
  network=c.UNet(
    channels=192,
    channel_mults=(1, 2, 2, 4, 4),
    num_res_blocks=2,
    attention_resolutions=(32, 16, 8, 4),
    num_heads=8,
    scale_shift_norm=True,
    resblock_updown=True,
    norm_eps=1e-5,
    cosine_first=True,
    frequency_shift=0,
  ),
  optimizer=dataclasses.replace(
    ldm4.optimizer, learning_rate=5e-5, warmup_steps=10_000
  ),
  training=dataclasses.replace(ldm4.training, num_steps=500_000, batch_size=96),
  sampling=dataclasses.replace(ldm4.sampling, steps=500),
)
