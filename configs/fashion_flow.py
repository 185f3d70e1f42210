"""Fashion-MNIST on a rectified flow by a small U-Net, to be made faster.

  python -m jaxdiff.data prepare tfds:fashion_mnist
  python train.py --config configs/fashion_flow.py

268,180 parameters, 7,500 steps of 128 (16 epochs).
`fashion_mean_flow` starts from it: see docs/few_steps.md for how it was run.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/fashion_flow',
  data=c.Data(name='tfds:fashion_mnist'),
  diffusion=c.Gaussian(schedule='rectified_flow', prediction='velocity'),
  network=c.UNet(
    channels=16,
    channel_mults=(1, 2, 2),
    num_res_blocks=1,
    attention_resolutions=(),
    patch_size=2,
    time_scale=20.0,
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=200
  ),
  training=c.Training(
    num_steps=7500, batch_size=128, ema_decay=0.999, preview_every=7500
  ),
  sampling=c.Sampling(sampler='ddim', steps=20, threshold='none'),
  checkpoint=c.Checkpoint(every=500),
)
