"""Score SDE on CIFAR-10: VP in continuous time (Song et al. 2021, DDPM++ deep).

  python -m jaxdiff.data prepare tfds:cifar10
  python train.py --config configs/papers/score_sde_vp_cifar10.py
  python -m jaxdiff.evaluation likelihood runs/score_sde_vp_cifar10

106,632,579 parameters. Hardware: README there times its models on 4 V100; not
run here. Expected: 3.13 bits/dim by the ODE (table 2), FID 2.41 with 1000 steps
of Euler-Maruyama (table 3). The FID is that of the best of the checkpoints, one
each 50,000 steps, and the bits of the last. Settings:
configs/vp/cifar10_ddpmpp_deep_continuous.py of yang-song/score_sde.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/score_sde_vp_cifar10',
  data=c.Data(name='tfds:cifar10', flip=True),
  diffusion=c.Gaussian(
    schedule='linear_vp(0.1, 20.0)',
    prediction='eps',
    times='continuous(1e-5)',
    positions='independent',
  ),
  network=c.UNet(
    channels=128,
    channel_mults=(1, 2, 2, 2),
    num_res_blocks=8,
    attention_resolutions=(16,),
    dropout=0.1,
    resblock_updown=True,
    variant='ddpm++',
    time_scale=999.0,
  ),
  optimizer=c.Optimizer(
    name='adam', learning_rate=2e-4, warmup_steps=5000, clip_norm=1.0
  ),
  training=c.Training(
    num_steps=950_000,
    batch_size=128,
    ema_decay=0.9999,
    log_every=100,
    preview_every=10_000,
  ),
  # From t = 1 to 0.001, and then the estimate of the data.
  sampling=c.Sampling(
    sampler='euler_maruyama',
    steps=999,
    times='leading(offset=1, last=1)',
    threshold='none',
    denoise_last=True,
  ),
  checkpoint=c.Checkpoint(every=5000, keep_every=50_000),
)
