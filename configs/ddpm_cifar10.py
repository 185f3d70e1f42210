r"""DDPM on CIFAR-10 at the paper's settings (Ho et al. 2020).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/ddpm_cifar10.py

The official code's warm-up, gradient clip and large variance. 35,746,307
parameters. Hardware: the authors trained on a TPU v3-8, 21 steps/s, about 10.6
hours; not run here. Expected: FID 3.17 against the training set, 1000 ancestral
steps, 50,000 samples (the paper's table 1), the least over 800,000 steps.

DDIM (Song et al. 2021) is the same run, sampled in fewer steps:

  python sample.py runs/ddpm_cifar10 --sampler ddim --steps 50 \
    --times quadratic --threshold none

with --eta 1 for more noise, or --sampler ancestral:large without --eta and
--threshold for the large variance, which alone its code clips. Expected FID
(its table 1, on the grid of its appendix D.2; its code begins at step 801):

  steps                  10      20      50     100    1000
  eta 0               13.36    6.84    4.67    4.16    4.04
  eta 1               41.07   18.36    8.01    5.78    4.73
  the large variance 367.43  133.37   32.72    9.99    3.17
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/ddpm_cifar10',
  data=c.Data(name='tfds:cifar10', flip=True),
  diffusion=c.Gaussian(
    schedule='linear_betas',
    num_steps=1000,
    prediction='eps',
    steps_from_zero=True,
    times='grid',
    positions='independent',
    variance='large',
  ),
  network=c.UNet(
    channels=128,
    channel_mults=(1, 2, 2, 2),
    num_res_blocks=2,
    attention_resolutions=(16,),
    dropout=0.1,
  ),
  optimizer=c.Optimizer(
    name='adam', learning_rate=2e-4, warmup_steps=5000, clip_norm=1.0
  ),
  training=c.Training(
    num_steps=800_000,
    batch_size=128,
    ema_decay=0.9999,
    log_every=100,
    preview_every=10_000,
  ),
  sampling=c.Sampling(sampler='ancestral', steps=1000),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
