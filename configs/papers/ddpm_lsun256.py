"""DDPM on LSUN at 256x256 (Ho et al. 2020): churches, bedrooms or cats.

  python -m jaxdiff.data prepare tfds:lsun/church_outdoor
  python train.py --config configs/papers/ddpm_lsun256.py

113,673,219 parameters (appendix B: 114 million). Hardware: the authors trained
on a TPU v3-8 at 2.2 steps/s, about 6.3 days; not run here. Expected: FID 7.89
with 1000 ancestral steps (table 3). Bedrooms have 6.36 after 2,400,000 steps
(--data.name tfds:lsun/bedroom) and cats 19.75 after 1,800,000 (--data.name
tfds:lsun/cat --data.no-flip), each the least over training. Settings: appendix
B and scripts/run_lsun.py of hojonathanho/diffusion. The script flips bedrooms
and not cats, the appendix cats and not bedrooms.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/ddpm_lsun256',
  data=c.Data(name='tfds:lsun/church_outdoor', image_size=256, flip=True),
  diffusion=c.Gaussian(
    schedule='linear_betas',
    num_steps=1000,
    prediction='eps',
    steps_from_zero=True,
    times='grid',
    positions='independent',
  ),
  network=c.UNet(
    channels=128,
    channel_mults=(1, 1, 2, 2, 4, 4),
    num_res_blocks=2,
    attention_resolutions=(16,),
  ),
  optimizer=c.Optimizer(
    name='adam', learning_rate=2e-5, warmup_steps=5000, clip_norm=1.0
  ),
  training=c.Training(
    num_steps=1_200_000, batch_size=64, log_every=100, preview_every=10_000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=1000, num=16),
  checkpoint=c.Checkpoint(every=5000, keep_every=100_000),
)
