"""Improved DDPM on CIFAR-10: L_hybrid (Nichol and Dhariwal 2021).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/iddpm_cifar10_hybrid.py

52,546,438 parameters (the released file calls it 50M). Hardware: several GPUs,
README there does not say how many; not run here. Expected: at most 3.17
bits/dim and FID 3.19 with 4000 steps (table 2). Settings: README of
openai/improved-diffusion, "Unconditional CIFAR-10 with our L_hybrid objective",
and the 500,000 steps of its checkpoint.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/iddpm_cifar10_hybrid',
  data=c.Data(name='tfds:cifar10'),
  diffusion=c.Gaussian(
    schedule='cosine_betas',
    num_steps=4000,
    prediction='eps',
    steps_from_zero=True,
    loss='hybrid',
    variance='learned',
    times='grid',
    positions='independent',
  ),
  network=c.UNet(
    channels=128,
    channel_mults=(1, 2, 2, 2),
    num_res_blocks=3,
    attention_resolutions=(16, 8),
    num_heads=4,
    dropout=0.3,
    scale_shift_norm=True,
    norm_eps=1e-5,
    time_scale=250.0,  # theirs is told (i - 1) / 4 of step i
    cosine_first=True,
    frequency_shift=0,
    padded_halving=True,
  ),
  optimizer=c.Optimizer(name='adamw', learning_rate=1e-4, clip_norm=None),
  training=c.Training(
    num_steps=500_000, batch_size=128, log_every=100, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=4000),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
