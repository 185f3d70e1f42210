"""A run small enough for a test: a few thousand parameters, real digits."""

import dataclasses

from jaxdiff.config import Config, Network, Optimizer, Sampling, Training

NETWORK = Network(
  channels=8,
  channel_mults=(1, 2),
  num_res_blocks=1,
  attention_resolutions=(4,),
)

config = Config(
  network=NETWORK,
  optimizer=Optimizer(learning_rate=1e-3),
  training=Training(num_steps=6, batch_size=16, log_every=2, preview_every=100),
  sampling=Sampling(steps=2, num=4),
)


def shrunken(config):
  """A configuration of any size, cut down to one a test can run."""
  levels = len(config.network.channel_mults)
  shrink = dataclasses.replace
  return shrink(
    config,
    network=shrink(
      config.network,
      channels=8,
      channel_mults=config.network.channel_mults[:levels],
      num_res_blocks=1,
      head_channels=8 if config.network.head_channels else None,
    ),
    optimizer=shrink(config.optimizer, warmup_steps=1),
    training=shrink(config.training, num_steps=4, batch_size=8),
    sampling=shrink(config.sampling, steps=2, num=2),
  )
