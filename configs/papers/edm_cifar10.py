"""EDM on CIFAR-10, unconditional (Karras et al. 2022, configuration F, VP).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/edm_cifar10.py

55,733,891 parameters. Hardware: 8 V100, about 2 days for the authors; not run
here. Expected: FID 1.97 with 35 evaluations (table 2). By class,
--condition.label --condition.drop 0, it is 1.79. Settings: train.py of
NVlabs/edm, --arch=ddpmpp. Images are augmented by cubic interpolation, theirs
by a wavelet filter.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/edm_cifar10',
  data=c.Data(name='tfds:cifar10', augment=0.12),
  diffusion=c.Gaussian(
    schedule='edm(0.002, 80.0, 7.0)',
    prediction='edm(0.5)',
    log_sigma=True,
    times='log_normal(-1.2, 1.2)',
    positions='independent',
  ),
  network=c.UNet(
    channels=128,
    channel_mults=(2, 2, 2),
    num_res_blocks=4,
    attention_resolutions=(16,),
    dropout=0.13,
    resblock_updown=True,
    variant='ddpm++',
    time_scale=1.0,
  ),
  # A warm-up of 10 million images, and a half-life of half a million.
  # Its loss is a sum over 3,072 numbers, ours a mean.
  optimizer=c.Optimizer(
    name='adam',
    learning_rate=1e-3,
    warmup_steps=19_531,
    clip_norm=None,
    eps=1e-8 / 3072,
  ),
  training=c.Training(
    num_steps=390_625,
    batch_size=512,
    ema_decay=0.99929,
    ema_rampup=0.05,
    log_every=100,
    preview_every=5000,
  ),
  sampling=c.Sampling(
    sampler='heun', steps=17, threshold='none', denoise_last=True
  ),
  checkpoint=c.Checkpoint(every=2500, keep_every=50_000),
)
