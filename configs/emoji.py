"""Text to image on real emoji, 16x16, from their names.

The data set is a folder of PNGs with a captions.json ({file, caption} each),
here Noto's at 32x32:

  python train.py --config configs/emoji.py --data.name folder:PATH
  python sample.py runs/emoji --prompt "red heart"

3,174,403 parameters, 1,800 steps of 32. 20 minutes on two CPU cores with other
work (2026-11-22, Python 3.11, jax 0.10.2). Expected: loss 0.126. Colours follow
the words. Shapes follow only where the set has many alike (docs/results.md).
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/emoji',
  data=c.Data(name='folder:emoji', image_size=16),
  condition=c.Condition(
    text='bpe', vocab_size=1024, length=32, width=96, depth=2, num_heads=4
  ),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.UNet(
    channels=32,
    channel_mults=(1, 2, 3),
    num_res_blocks=1,
    attention_resolutions=(8, 4),
    num_heads=4,
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=200
  ),
  training=c.Training(
    num_steps=1800, batch_size=32, ema_decay=0.999, preview_every=500
  ),
  sampling=c.Sampling(sampler='ddim', steps=50, scale=3.0, num=36),
  checkpoint=c.Checkpoint(every=500),
)
