"""Score SDE on CIFAR-10: sub-VP in continuous time (Song et al. 2021).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/score_sde_subvp_cifar10.py
  python -m jaxdiff.evaluation likelihood runs/score_sde_subvp_cifar10

score_sde_vp_cifar10.py with less noise at every t. 106,632,579 parameters.
Hardware: README there times its models on 4 V100; not run here. Expected: 2.99
bits/dim by the ODE (table 2), FID 2.41 with 1000 steps (table 3), of the last
and of the best checkpoint. The network is given xt as it is. Settings:
configs/subvp/cifar10_ddpmpp_deep_continuous.py of yang-song/score_sde.
"""

import dataclasses

from jaxdiff import config as c

vp = c.load_file('configs/papers/score_sde_vp_cifar10.py')
config = dataclasses.replace(
  vp,
  workdir='runs/score_sde_subvp_cifar10',
  diffusion=dataclasses.replace(
    vp.diffusion, schedule='sub_vp(0.1, 20.0)', scale_input=False
  ),
)
