"""EDM2-XS on latents of ImageNet at 512x512 (Karras et al. 2024).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/edm2_xs_imagenet512.py
  python sample.py runs/edm2_xs_imagenet512 --ema-std 0.135

--latent.autoencoder is Stable Diffusion's, of 64x64x4, from the Hub.
124,713,253 parameters (table 2: 125 million). Hardware: the authors recommend
32 A100 at least; not run here. Expected: FID 3.53 without guidance
(NVlabs/edm2, generate_images.py: preset edm2-img512-xs-fid). Settings:
train_edm2.py there. Their latents have deviation 0.5 and ours 1, so sigma is
twice theirs. Their autoencoder reads images in [0, 1], their uncertainty has a
vector of norm 1, and their rate falls from step 70,000 on, ours from 74,883.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/edm2_xs_imagenet512',
  data=c.Data(name='tfds:imagenet2012', image_size=512, downsampling='halved'),
  latent=c.Latent(autoencoder='hf://stabilityai/sd-vae-ft-mse'),
  condition=c.Condition(label=True, drop=0.0),
  diffusion=c.Gaussian(
    schedule='edm(0.004, 160.0, 7.0)',
    prediction='edm(1.0)',
    log_sigma=True,
    times='log_normal(0.2931, 1.0)',
    positions='independent',
    uncertainty=True,
  ),
  network=c.EDM2(channels=128, dtype='bfloat16'),
  # A warm-up of 10 million images. Its loss is a sum over 16,384 numbers, ours
  # a mean.
  optimizer=c.Optimizer(
    name='adam',
    learning_rate=0.012,
    schedule='power(70_000)',
    warmup_steps=4883,
    clip_norm=None,
    b2=0.99,
    eps=1e-8 / 16_384,
    unit_weights=True,
  ),
  training=c.Training(
    num_steps=1_048_576,
    batch_size=2048,
    ema_stds=(0.05, 0.1),
    log_every=64,
    preview_every=8192,
  ),
  sampling=c.Sampling(
    sampler='heun', steps=31, threshold='none', denoise_last=True, num=16
  ),
  checkpoint=c.Checkpoint(every=4096, keep_every=4096),
)
