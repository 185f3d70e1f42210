"""Score SDE on CIFAR-10: VE in continuous time (Song et al. 2021, NCSN++ deep).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/score_sde_ve_cifar10.py

107,587,075 parameters. Hardware: README there times its models on 4 V100; not
run here. Expected: FID 2.20 with 1000 steps of predictor and corrector (table
3). Settings: configs/ve/cifar10_ncsnpp_deep_continuous.py of
yang-song/score_sde; sigma is twice theirs, whose pixels are in [0, 1]. Random
Fourier features embed t, and theirs log sigma, which is linear in t. The
network is given xt as it is. Theirs measures the step of Langevin dynamics by
the batch, ours by the image, and corrects before it predicts.
"""

import dataclasses
import math

from jaxdiff import config as c

vp = c.load_file('configs/papers/score_sde_vp_cifar10.py')
config = dataclasses.replace(
  vp,
  workdir='runs/score_sde_ve_cifar10',
  diffusion=dataclasses.replace(
    vp.diffusion,
    schedule='ve(0.02, 100.0)',
    variance='large',
    scale_input=False,
  ),
  network=dataclasses.replace(
    vp.network, variant='ncsn++', time_scale=math.log(100.0 / 0.02)
  ),
  # Its loss is half a sum over 3,072 numbers, ours a mean.
  optimizer=dataclasses.replace(
    vp.optimizer, clip_norm=1 / 1536, eps=1e-8 / 1536
  ),
  training=dataclasses.replace(vp.training, ema_decay=0.999),
  sampling=dataclasses.replace(
    vp.sampling,
    sampler='predictor_corrector(1, 0.16, adaptive=True)',
    times='uniform',
  ),
)
