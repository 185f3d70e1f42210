"""DiT-XL/2 on latents of ImageNet at 256x256 (Peebles and Xie 2022).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/dit_xl2_imagenet256.py
  python sample.py runs/dit_xl2_imagenet256 --labels 207,360 --scale 1.5

--latent.autoencoder is Stable Diffusion's, of 32x32x4, from the Hub.
674,834,720 parameters; the released code counts 294,912 fixed positions too
(table 4: 675 million). Hardware: the authors trained on a TPU v3-256 at 5.7
steps/s; not run here. Expected: FID 9.62 after 7 million steps, 2.27 at scale
1.5 (table 2), and 19.5 after 400,000 (README of facebookresearch/DiT).
Settings: train.py there; as there three of the four channels are guided. Theirs
multiplies latents by 0.18215; ours has mean 0 and variance 1.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/dit_xl2_imagenet256',
  data=c.Data(
    name='tfds:imagenet2012', image_size=256, downsampling='halved', flip=True
  ),
  latent=c.Latent(autoencoder='hf://stabilityai/sd-vae-ft-mse'),
  condition=c.Condition(label=True, drop=0.1),
  diffusion=c.Gaussian(
    schedule='linear_betas',
    num_steps=1000,
    prediction='eps',
    steps_from_zero=True,
    loss='hybrid',
    variance='learned',
    times='grid',
    positions='independent',
  ),
  network=c.DiT(
    patch_size=2, width=1152, depth=28, num_heads=16, frequency_shift=0
  ),
  optimizer=c.Optimizer(name='adamw', learning_rate=1e-4, clip_norm=None),
  training=c.Training(
    num_steps=7_000_000, batch_size=256, log_every=100, preview_every=10_000
  ),
  sampling=c.Sampling(
    sampler='ancestral',
    steps=250,
    times='linspace',
    scale=1.5,
    guidance='classifier_free(channels=3)',
    threshold='none',
    num=16,
  ),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
