"""Fashion-MNIST, 28x28 grey, with a network small enough for a CPU.

  python -m jaxdiff.data prepare tfds:fashion_mnist
  python train.py --config configs/fashion_mnist.py

1,112,801 parameters, 112,000 images (1.9 epochs). 50 minutes on ONE core of a
two-core CPU (2026-11-22, Python 3.11, jax 0.10.2), loss 0.16; the grid in the
README. That run took its first 2,800 steps on the learning-rate schedule of
4,200 and the rest, resumed, on that of 3,500. Longer is better.
"""

from jaxdiff.config import (
  Checkpoint,
  Config,
  Data,
  Diffusion,
  Network,
  Optimizer,
  Sampling,
  Training,
  UNet,
)

config = Config(
  workdir='runs/fashion_mnist',
  data=Data(name='tfds:fashion_mnist', flip=True),
  diffusion=Diffusion(schedule='cosine', prediction='v'),
  network=Network(
    unet=UNet(
      channels=32,
      channel_mults=(1, 2, 2),
      num_res_blocks=1,
      attention_resolutions=(7,),
    )
  ),
  optimizer=Optimizer(learning_rate=8e-4, schedule='cosine', warmup_steps=200),
  training=Training(
    num_steps=3500, batch_size=32, ema_decay=0.999, preview_every=700
  ),
  sampling=Sampling(sampler='ancestral', steps=100),
  checkpoint=Checkpoint(every=350),
)
