"""Text to image on real emoji, 32x32, from their names.

The data set is a folder of PNGs with a captions.json ({file, caption} each),
here Noto's:

  python train.py --config configs/emoji.py --data.name folder:PATH
  python sample.py runs/emoji --prompt "red heart"

2,564,524 parameters, 9,000 steps of 32 (84 epochs). 30 CPU minutes, 1 h 55 min
on a busy machine (2026-11-28, Python 3.13, jax 0.12.0.1). Expected: loss 0.096,
and the second preview in docs/results.md. Squares of 2x2 pixels are one
position. emoji_latent.py draws better ones in the same time.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/emoji',
  data=c.Data(name='folder:emoji'),
  condition=c.Condition(
    text='bpe', vocab_size=1024, length=24, width=96, depth=2, num_heads=4
  ),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.UNet(
    channels=32,
    channel_mults=(1, 2, 3),
    num_res_blocks=1,
    attention_resolutions=(8,),
    num_heads=4,
    patch_size=2,
  ),
  optimizer=c.Optimizer(
    learning_rate=1e-3, schedule='cosine', warmup_steps=200
  ),
  training=c.Training(
    num_steps=9000, batch_size=32, ema_decay=0.999, preview_every=3000
  ),
  sampling=c.Sampling(sampler='ddim', steps=50, scale=3.0, num=36),
  checkpoint=c.Checkpoint(every=250),
)
