"""Fashion-MNIST, 28x28 grey, with a network small enough for a CPU.

  python -m jaxdiff.data prepare tfds:fashion_mnist
  python train.py --config configs/fashion_mnist.py

1,114,532 parameters, 6,000 steps of 64 (6.4 epochs). 34 minutes on one of two
CPU cores with other work (2026-11-29, Python 3.13, jax 0.12.0.1). Expected:
loss 0.158, and a Frechet distance of 0.23 in features of a classifier
(docs/results.md). Squares of 2x2 pixels are one position: a step is 3.3 times
as fast as without, so the same time has three times the epochs.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/fashion_mnist',
  data=c.Data(name='tfds:fashion_mnist'),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.UNet(
    channels=32,
    channel_mults=(1, 2, 2),
    num_res_blocks=1,
    attention_resolutions=(7,),
    patch_size=2,
  ),
  optimizer=c.Optimizer(
    learning_rate=3e-3, schedule='cosine', warmup_steps=200
  ),
  training=c.Training(
    num_steps=6000, batch_size=64, ema_decay=0.999, preview_every=1000
  ),
  sampling=c.Sampling(sampler='ancestral', steps=100),
  checkpoint=c.Checkpoint(every=500),
)
