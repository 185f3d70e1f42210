"""A run small enough for a test: a few thousand parameters, real digits."""

import dataclasses

import jax
import numpy as np

from jaxdiff.config import (
  Config,
  Network,
  Optimizer,
  Sampling,
  Spec,
  Training,
  UNet,
)

NETWORK = Network(
  unet=UNet(
    channels=8,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(4,),
  )
)

SPEC = Spec((8, 8, 1), num_classes=10)

config = Config(
  network=NETWORK,
  optimizer=Optimizer(learning_rate=1e-3),
  training=Training(num_steps=6, batch_size=16, log_every=2, preview_every=100),
  sampling=Sampling(steps=2, num=4),
)


def init(key, channels=64):
  """Parameters of `apply`."""
  keys = jax.random.split(key, 3)
  return {
    'in': 0.3 * jax.random.normal(keys[0], (3, 3, 1, channels)),
    'time': jax.random.normal(keys[1], (channels,)),
    'out': 0.05 * jax.random.normal(keys[2], (3, 3, channels, 1)),
  }


def apply(params, xt, t, cond, dropout_key=None):
  """The smallest network that sees neighbours and time; compiles at once."""
  conv = lambda x, kernel: jax.lax.conv_general_dilated(
    x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )
  time = t[:, None] * params['time'][None]
  h = jax.nn.swish(conv(xt, params['in']) + time[:, None, None, :])
  return conv(h, params['out'])


def shrunken(config):
  """A configuration of any size, cut down to one a test can run."""
  shrink = dataclasses.replace
  unet = config.network.unet
  return shrink(
    config,
    condition=shrink(config.condition, width=8, depth=1, num_heads=2),
    network=shrink(
      config.network,
      unet=shrink(
        unet,
        channels=8,
        num_res_blocks=1,
        head_channels=8 if unet.head_channels else None,
      ),
      dit=shrink(config.network.dit, width=8, depth=1, num_heads=2),
    ),
    optimizer=shrink(config.optimizer, warmup_steps=1),
    training=shrink(config.training, num_steps=4, batch_size=8),
    sampling=shrink(config.sampling, steps=2, num=2),
  )


def with_text(config, spec):
  """The spec with the sizes of the text that the configuration encodes."""
  c = config.condition
  return config, spec._replace(text_dims=(c.width,) * 2 if c.text else None)


def conditions(config, num, sampling=False):
  """Conditions of zeros, as a batch has them, or with what sampling adds."""
  c, cond = config.condition, {}
  if c.label:
    cond['label'] = np.zeros(num, np.int32)
  if c.text:
    cond['tokens'] = np.ones((num, c.length), np.int32)
  if c.low_res and sampling:
    cond['low_res'] = np.zeros((num, c.low_res, c.low_res, 3), np.float32)
  return cond
