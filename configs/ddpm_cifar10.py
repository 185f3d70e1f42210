"""DDPM on CIFAR-10 at the paper's settings (Ho et al. 2020).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/ddpm_cifar10.py

The official code's warm-up, gradient clip and large variance. 35,746,307
parameters. Hardware: the authors trained on a TPU v3-8, 21 steps/s, about 10.6
hours; not run here. Expected with all 800,000 steps: FID 3.17 against the
training set, 1000 ancestral steps, 50,000 samples (the paper's table 1).
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/ddpm_cifar10',
  data=c.Data(name='tfds:cifar10', flip=True),
  diffusion=c.Gaussian(
    schedule='linear_betas',
    num_steps=1000,
    prediction='eps',
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
