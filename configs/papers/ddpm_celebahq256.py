"""DDPM on CelebA-HQ at 256x256 (Ho et al. 2020): ddpm_lsun256.py on faces.

  python -m jaxdiff.data prepare tfds:celeb_a_hq/256
  python train.py --config configs/papers/ddpm_celebahq256.py

113,673,219 parameters. The paper shows samples (its figure 1) and gives no FID.
Hardware: a TPU v3-8 at 2.2 steps/s, about 2.6 days for the authors; not run
here. Settings: appendix B and scripts/run_celebahq.py of hojonathanho/
diffusion, which are those of LSUN.
"""

import dataclasses

from jaxdiff import config as c

lsun = c.load_file('configs/papers/ddpm_lsun256.py')
config = dataclasses.replace(
  lsun,
  workdir='runs/ddpm_celebahq256',
  data=c.Data(name='tfds:celeb_a_hq/256', flip=True),
  training=dataclasses.replace(lsun.training, num_steps=500_000),
)
