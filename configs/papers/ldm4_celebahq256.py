"""Latent diffusion LDM-4 on CelebA-HQ at 256x256 (Rombach et al. 2022).

  python -m jaxdiff.data prepare tfds:celeb_a_hq/256
  python train.py --config configs/papers/ldm4_celebahq256.py

--latent.autoencoder is VQ-f4, of 64x64x3 with 8192 codes, from the Hub.
274,056,163 parameters (table 12: 274 million). Hardware: one A100; not run
here. Expected: FID 5.11 with 200 DDIM steps, eta 0 (README of
CompVis/latent-diffusion). Settings: table 12, and
configs/latent-diffusion/celebahq-ldm-vq-4.yaml there, whose rate 2e-6 is of one
image. Latents are scaled to variance 1; theirs are not. Theirs trains on 25,000
of the 30,000 images.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/ldm4_celebahq256',
  data=c.Data(name='tfds:celeb_a_hq/256'),
  latent=c.Latent(autoencoder='hf://CompVis/ldm-celebahq-256/vqvae'),
  diffusion=c.Gaussian(
    schedule='scaled_linear_betas(0.0015, 0.0195)',
    num_steps=1000,
    prediction='eps',
    steps_from_zero=True,
    times='grid',
    positions='independent',
  ),
  network=c.UNet(
    channels=224,
    channel_mults=(1, 2, 3, 4),
    num_res_blocks=2,
    attention_resolutions=(32, 16, 8),
    head_channels=32,
    norm_eps=1e-5,
    cosine_first=True,
    frequency_shift=0,
    padded_halving=True,
  ),
  optimizer=c.Optimizer(
    name='adamw', learning_rate=9.6e-5, clip_norm=None, weight_decay=0.01
  ),
  training=c.Training(
    num_steps=410_000, batch_size=48, log_every=100, preview_every=10_000
  ),
  # Its samples keep the noise of the table's first step.
  sampling=c.Sampling(
    sampler='ddim',
    steps=200,
    times='leading(offset=1, last=1)',
    threshold='none',
    num=16,
  ),
  checkpoint=c.Checkpoint(every=5000, keep_every=50_000),
)
