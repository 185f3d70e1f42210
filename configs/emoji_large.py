"""Super-resolution of emoji, 8x8 to 32x32: the second stage of a cascade.

  python train.py --config configs/emoji_large.py --data.name folder:PATH
  python sample.py runs/emoji_large --image SMALL.png
  python sample.py runs/emoji_large --base runs/emoji_small --prompt "red heart"

1,030,491 parameters, 800 steps of 16. 6 minutes on two CPU cores with other
work (2026-11-22, Python 3.11, jax 0.10.2). Expected: loss 0.134; samples are
still grainy (docs/results.md).
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/emoji_large',
  data=c.Data(name='folder:emoji', image_size=32),
  condition=c.Condition(low_res=8, augment=0.3),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.UNet(
    channels=24,
    channel_mults=(1, 2, 3),
    num_res_blocks=1,
    attention_resolutions=(8,),
    num_heads=2,
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=100
  ),
  training=c.Training(
    num_steps=800, batch_size=16, ema_decay=0.998, preview_every=250
  ),
  sampling=c.Sampling(sampler='ddim', steps=50, augment=0.1, num=16),
  checkpoint=c.Checkpoint(every=250),
)
