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
    channel_mults=(1, 2, 2),
    num_res_blocks=1,
    attention_resolutions=(7,),
  ),
  optimizer=Optimizer(learning_rate=8e-4, schedule='cosine', warmup_steps=200),
  training=Training(
    num_steps=3500, batch_size=32, ema_decay=0.999, preview_every=700
  ),
  sampling=Sampling(sampler='ancestral', steps=100),
  checkpoint=Checkpoint(every=350),
)
