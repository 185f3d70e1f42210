"""MeanFlow-B/4 on latents of ImageNet at 256x256 (Geng et al. 2025).

  python -m jaxdiff.data prepare tfds:imagenet2012
  python train.py --config configs/papers/mean_flow_b4_imagenet256.py
  python sample.py runs/mean_flow_b4_imagenet256 --steps 1 --labels 207,360

131,165,248 parameters. From nothing, 80 epochs, without guidance in the target.
A quarter of the pairs has s < t. Hardware: TPUs for the authors; not run here.
Expected: FID 61.06 by one evaluation (arXiv:2505.13447, table 1; an earlier
README of Gsunshine/meanflow: 61.09 in the paper, 60.75 with its code).
Settings: configs/run_b4.yml there, whose latents are not flipped. In its code t
is the larger of two draws where s = t, too, and labels are dropped there alone.
"""

import dataclasses

from jaxdiff import config as c

b4 = c.load_file('configs/papers/dit_b4_imagenet256.py')
config = dataclasses.replace(
  b4,
  workdir='runs/mean_flow_b4_imagenet256',
  data=dataclasses.replace(b4.data, flip=False),
  diffusion=c.Gaussian(
    schedule='rectified_flow',
    prediction='velocity',
    loss='mean_flow(fraction=0.25, power=1.0, offset=0.01)',
    times='logit_normal(-0.4, 1.0)',
    positions='independent',
  ),
  network=dataclasses.replace(b4.network, time_scale=1.0),
  optimizer=dataclasses.replace(b4.optimizer, b2=0.95),
  sampling=c.Sampling(sampler='flow_map', steps=1, threshold='none'),
)
