"""Fashion-MNIST, 28x28 grey.

python -m jaxdiff.data prepare tfds:fashion_mnist
python train.py --config configs/fashion_mnist.py
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
)

config = Config(
  workdir='runs/fashion_mnist',
  data=Data(name='tfds:fashion_mnist', flip=True),
  diffusion=Diffusion(schedule='cosine', prediction='v'),
  network=Network(
    channels=32,
    channel_mults=(1, 2, 3),
    num_res_blocks=1,
    attention_resolutions=(7,),
    head_channels=32,
  ),
  optimizer=Optimizer(learning_rate=1e-3, schedule='cosine', warmup_steps=200),
  training=Training(
    num_steps=10_000, batch_size=64, ema_decay=0.999, preview_every=1000
  ),
  sampling=Sampling(sampler='ddim', steps=50),
  checkpoint=Checkpoint(every=1000),
)
