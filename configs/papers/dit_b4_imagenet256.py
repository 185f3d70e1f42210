"""DiT-B/4 on latents of ImageNet at 256x256 (Peebles and Xie 2022).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/dit_b4_imagenet256.py

dit_xl2_imagenet256.py with a smaller network: 130,426,496 parameters, and
49,152 fixed positions in the released code's count. Hardware: 4 A100 for the
authors; not run here. Expected: FID 68.4 after 400,000 steps, with 250 steps of
DDPM and no guidance (README of facebookresearch/DiT).
"""

import dataclasses

from jaxdiff import config as c

xl2 = c.load_file('configs/papers/dit_xl2_imagenet256.py')
config = dataclasses.replace(
  xl2,
  workdir='runs/dit_b4_imagenet256',
  network=dataclasses.replace(
    xl2.network, patch_size=4, width=768, depth=12, num_heads=12
  ),
  training=dataclasses.replace(xl2.training, num_steps=400_000),
  sampling=dataclasses.replace(xl2.sampling, scale=1.0),
)
