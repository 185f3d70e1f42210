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
      transformer=shrink(
        config.network.transformer, width=8, depth=1, num_heads=2
      ),
      graph_transformer=shrink(
        config.network.graph_transformer,
        width=8,
        edge_width=8,
        global_width=8,
        depth=1,
        num_heads=2,
      ),
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


def text_spec(length=6, symbols='abc', sizes=False):
  """Of text over these characters, all alike; of any length, with sizes."""
  num = len(symbols)
  law = (0.0, *[1 / length] * length)
  return Spec(
    (length,),
    categories=num,
    symbols=tuple(symbols),
    marginals=(1 / num,) * num,
    sizes=law if sizes else None,
  )


def graph_spec(num=5, kinds=None, sizes=False):
  """Of graphs of up to `num` nodes, of so many kinds."""
  shape, categories = {'edges': (num, num)}, {'edges': 2}
  marginals = {'edges': (0.7, 0.3)}
  if kinds:
    shape, categories = (
      {'nodes': (num,), **shape},
      {'nodes': kinds, **categories},
    )
    marginals['nodes'] = (1 / kinds,) * kinds
  law = (0.0, *[1 / num] * num)
  return Spec(
    shape,
    categories=categories,
    marginals=marginals,
    sizes=law if sizes else None,
  )


def batch(config, spec, num):
  """Zeros, and all there is in them."""
  kind = np.int32 if spec.categories else np.float32
  zeros = lambda shape, kind: jax.tree.map(
    lambda s: np.zeros((num, *s), kind),
    shape,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  made = {'x0': zeros(spec.shape, kind), 'cond': conditions(config, num)}
  if spec.sizes is not None:
    made['mask'] = jax.tree.map(lambda x: x == 0, made['x0'])
  return made
