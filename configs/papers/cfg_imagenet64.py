"""Classifier-free guidance on ImageNet at 64x64 (Ho and Salimans 2022).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/cfg_imagenet64.py
  python sample.py runs/cfg_imagenet64 --scale 1.1

The network of ADM in continuous time, with one null label. 295,900,035
parameters. Hardware: the authors' is not known; not run here. Expected: FID
1.80, 1.55, 3.03 and 12.6 at scales 1, 1.1, 1.3 and 2 (table 1, whose w is the
scale less 1). Settings: section 4, which refers to ADM for the rest; the 256
steps are those of its larger models. The variance of a step is between the
small and the large one, at 0.3.
"""

import dataclasses

from jaxdiff import config as c

adm64 = c.load_file('configs/papers/adm_imagenet64.py')
config = dataclasses.replace(
  adm64,
  workdir='runs/cfg_imagenet64',
  condition=c.Condition(label=True, drop=0.1),
  diffusion=c.Gaussian(
    schedule='cosine(-20.0, 20.0)', prediction='eps', positions='independent'
  ),
  training=dataclasses.replace(adm64.training, num_steps=400_000),
  sampling=c.Sampling(
    sampler='ancestral_interpolated(0.3)',
    steps=255,
    scale=1.1,
    denoise_last=True,
    num=16,
  ),
)
