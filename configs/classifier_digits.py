"""Classifier of the digits, whose features measure samples.

  python train.py --config configs/classifier_digits.py

The same as `python -m jaxdiff.classifier train digits`.
"""

from jaxdiff import config as c

config = c.Config(
  workdir='runs/classifier_digits',
  data=c.Data(name='digits'),
  diffusion=c.Classification(shift=1),
  network=c.ConvNet(width=32),
  optimizer=c.Optimizer(
    name='adamw',
    learning_rate=3e-3,
    schedule='cosine',
    clip_norm=None,
    weight_decay=1e-2,
  ),
  training=c.Training(num_steps=1000, batch_size=128, ema_decay=0.99),
)
