"""The 1,797 real 8x8 digits of scikit-learn: the default run.

python train.py
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
  workdir='runs/digits',
  data=Data(name='digits'),
  diffusion=Diffusion(schedule='cosine', prediction='v'),
  network=Network(
    channels=40,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(4,),
    dropout=0.0,
  ),
  optimizer=Optimizer(learning_rate=1e-3, schedule='cosine', warmup_steps=100),
  training=Training(
    num_steps=2000, batch_size=128, ema_decay=0.995, preview_every=500
  ),
  sampling=Sampling(sampler='ddim', steps=50),
  checkpoint=Checkpoint(every=500),
)
