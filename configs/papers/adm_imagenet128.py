"""ADM on ImageNet at 128x128 by class (Dhariwal and Nichol 2021).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/adm_imagenet128.py

421,530,630 parameters, of which 1024 embed a null label (table 11: 422
million). Hardware: README of openai/guided-diffusion names none; not run here.
Expected: FID 5.91 with 250 steps, and 2.97 guided by a classifier of noisy
images (table 5), which is not here. Settings: table 11, and README of
openai/guided-diffusion, whose model has 4 heads everywhere.
"""

import dataclasses

from jaxdiff import config as c

adm64 = c.load_file('configs/papers/adm_imagenet64.py')
config = dataclasses.replace(
  adm64,
  workdir='runs/adm_imagenet128',
  data=dataclasses.replace(adm64.data, image_size=128),
  diffusion=dataclasses.replace(adm64.diffusion, schedule='linear_betas'),
  network=dataclasses.replace(
    adm64.network,
    channels=256,
    channel_mults=(1, 1, 2, 3, 4),
    num_res_blocks=2,
    head_channels=None,
    num_heads=4,
    dropout=0.0,
    remat=True,
  ),
  optimizer=dataclasses.replace(adm64.optimizer, learning_rate=1e-4),
  training=dataclasses.replace(
    adm64.training, num_steps=4_360_000, batch_size=256
  ),
)
