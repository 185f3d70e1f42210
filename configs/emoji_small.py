"""Emoji at 8x8: the first stage of a cascade; `configs/emoji_large.py`.

  python train.py --config configs/emoji_small.py --data.name folder:PATH

1,511,683 parameters. 901 of its 1,800 steps of 32 took 6 minutes on two CPU
cores with other work (2026-11-22, Python 3.11, jax 0.10.2). Expected then: loss
0.150 (docs/results.md).
"""

import dataclasses

from jaxdiff import config as c

emoji = c.load_file('configs/emoji.py')
_unet = c.UNet(
  channels=32,
  channel_mults=(1, 2),
  num_res_blocks=1,
  attention_resolutions=(8, 4),
  num_heads=4,
)
config = dataclasses.replace(
  emoji,
  workdir='runs/emoji_small',
  data=dataclasses.replace(emoji.data, image_size=8),
  condition=dataclasses.replace(emoji.condition, length=32),
  training=dataclasses.replace(
    emoji.training, num_steps=1800, preview_every=500
  ),
  checkpoint=c.Checkpoint(every=500),
  network=_unet,
)
