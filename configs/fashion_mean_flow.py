"""Fashion-MNIST in one step: MeanFlow, started from `fashion_flow`.

  python train.py --config configs/fashion_flow.py
  python train.py --config configs/fashion_mean_flow.py
  python sample.py runs/fashion_mean_flow --steps 1

See docs/few_steps.md.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/fashion_mean_flow',
  init='runs/fashion_flow',
  data=c.Data(name='tfds:fashion_mnist'),
  diffusion=c.Gaussian(
    schedule='rectified_flow',
    prediction='velocity',
    loss='mean_flow(fraction=0.75, power=0.75)',
    times='logit_normal(-2.0, 2.0)',
  ),
  network=c.UNet(
    channels=16,
    channel_mults=(1, 2, 2),
    num_res_blocks=1,
    attention_resolutions=(),
    patch_size=2,
    time_scale=20.0,
  ),
  optimizer=c.Optimizer(learning_rate=3e-4, warmup_steps=50),
  training=c.Training(
    num_steps=2000, batch_size=128, ema_decay=0.995, preview_every=2000
  ),
  sampling=c.Sampling(sampler='flow_map', steps=1, threshold='none'),
  checkpoint=c.Checkpoint(every=500),
)
