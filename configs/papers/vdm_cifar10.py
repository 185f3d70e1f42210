"""Variational diffusion on CIFAR-10 (VDM, Kingma et al. 2021), not augmented.

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/vdm_cifar10.py
  python -m jaxdiff.evaluation likelihood runs/vdm_cifar10

30,586,243 parameters, 8,576 of them biases that theirs lacks: 32 blocks down
and 33 up, all at 32x32. Hardware: a TPU v3-64 for the authors (README there);
not run here. Expected: at most 2.64 bits/dim (the released checkpoint: 2.637).
Settings: configs/cifar10.py of google-research/vdm. Theirs learns the two ends
of log-SNR, which begin at ours.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/vdm_cifar10',
  data=c.Data(name='tfds:cifar10'),
  diffusion=c.Gaussian(
    schedule='linear_log_snr(-5.0, 13.3)',
    prediction='eps_residual',
    loss='nelbo',
    positions='antithetic',
  ),
  network=c.UNet(
    channels=128,
    channel_mults=(1,),
    num_res_blocks=32,
    attention_resolutions=(),
    dropout=0.1,
    pixel_exponents=(6, 7),
  ),
  optimizer=c.Optimizer(
    name='adamw',
    learning_rate=2e-4,
    warmup_steps=100,
    clip_norm=None,
    b2=0.99,
    weight_decay=0.01,
  ),
  training=c.Training(
    num_steps=10_000_000, batch_size=128, log_every=1000, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=1000, threshold='none'),
  checkpoint=c.Checkpoint(every=10_000, keep_every=1_000_000),
)
