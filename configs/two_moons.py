"""Two moons: points in the plane by a small network, the smallest run.

  python train.py --config configs/two_moons.py

175,106 parameters, 8,000 steps of 256. 45 s on two busy CPU cores, compilation
included (2026-11-28, Python 3.13, jax 0.12.0.1). Expected: loss 0.62, and the
two half circles in docs/images/two_moons.png.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/two_moons',
  data=c.Data(name='two_moons'),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.MLP(width=128, depth=3),
  optimizer=c.Optimizer(
    learning_rate=2e-3, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=8000,
    batch_size=256,
    steps_per_execution=50,
    ema_decay=0.995,
    log_every=200,
    preview_every=4000,
  ),
  sampling=c.Sampling(sampler='ddim', steps=50, threshold='none', num=2000),
  checkpoint=c.Checkpoint(every=4000),
)
