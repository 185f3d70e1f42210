"""ADM on ImageNet at 256x256 by class (Dhariwal and Nichol 2021).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/adm_imagenet256.py

553,839,110 parameters, of which 1024 embed a null label (table 11: 554
million). Hardware: README of openai/guided-diffusion names none; not run here.
Expected: FID 10.94 with 250 steps, and 4.59 guided by a classifier of noisy
images (table 5), which is not here. Settings: table 11, and README of
openai/guided-diffusion.
"""

import dataclasses

from jaxdiff import config as c

adm128 = c.load_file('configs/papers/adm_imagenet128.py')
config = dataclasses.replace(
  adm128,
  workdir='runs/adm_imagenet256',
  data=dataclasses.replace(adm128.data, image_size=256),
  network=dataclasses.replace(
    adm128.network, channel_mults=(1, 1, 2, 2, 4, 4), head_channels=64
  ),
  training=dataclasses.replace(adm128.training, num_steps=1_980_000),
)
