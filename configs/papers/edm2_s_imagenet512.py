"""EDM2-S on latents of ImageNet at 512x512 (Karras et al. 2024).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/edm2_s_imagenet512.py
  python sample.py runs/edm2_s_imagenet512 --ema-std 0.13

edm2_xs_imagenet512.py with 192 channels. 280,212,837 parameters (table 2: 280
million). Hardware: as for XS; not run here. Expected: FID 2.56 without guidance
(NVlabs/edm2, generate_images.py: preset edm2-img512-s-fid). Settings:
train_edm2.py there.
"""

import dataclasses

from jaxdiff import config as c

xs = c.load_file('configs/papers/edm2_xs_imagenet512.py')
config = dataclasses.replace(
  xs,
  workdir='runs/edm2_s_imagenet512',
  network=dataclasses.replace(xs.network, channels=192),
  optimizer=dataclasses.replace(xs.optimizer, learning_rate=0.01),
)
