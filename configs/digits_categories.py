"""Digits with pixel values as categories, by masked diffusion (D3PM, MD4).

  python train.py --config configs/digits_categories.py

With --diffusion.process ordinal the noise moves a value to its neighbours.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/digits_categories',
  diffusion=c.Categorical(
    process='absorbing', schedule='cosine', prediction='logits'
  ),
  network=c.UNet(
    channels=64,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(4,),
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=2000, batch_size=128, ema_decay=0.995, preview_every=500
  ),
  sampling=c.Sampling(sampler='ancestral', steps=64),
  checkpoint=c.Checkpoint(every=500),
)
