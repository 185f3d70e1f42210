"""Tiny runs: real digits, networks of a few thousand parameters."""

import dataclasses

import jax
import numpy as np

from jaxdiff import config as c
from jaxdiff import models, training
from jaxdiff.models import optimizer as optimizers
from jaxdiff.networks.autoencoder import AutoencoderKL
from jaxdiff.pretrained.autoencoder_weights import (
  load_autoencoder,
  save_autoencoder,
)

# One level: a third of the time to compile.
UNET = c.UNet(
  channels=4,
  channel_mults=(1,),
  num_res_blocks=1,
  attention_resolutions=(),
)

SPEC = c.Spec('image', (8, 8, 1), num_classes=10)

config = c.Config(
  network=UNET,
  optimizer=c.Optimizer(learning_rate=1e-3),
  training=c.Training(
    num_steps=6, batch_size=16, log_every=2, preview_every=100
  ),
  sampling=c.Sampling(steps=2, num=4),
)


def changed(config, **sections):
  """Replaces fields of sections: changed(config, sampling={'steps': 3})."""
  return dataclasses.replace(
    config,
    **{
      name: dataclasses.replace(getattr(config, name), **values)
      for name, values in sections.items()
    },
  )


def make_task(config, spec=SPEC, null=None):
  """Builds the task as train.py does."""
  model = models.make(config, spec, null)
  return training.make_task(
    model.init,
    model.loss,
    optimizers.make(config.optimizer, config.training.num_steps),
    **optimizers.step_options(config),
  )


def abstract_params(config, spec=SPEC):
  """Returns the shapes of the parameters."""
  return jax.eval_shape(models.make(config, spec).init, jax.random.key(0))


def random_params(config, spec=SPEC, size=0.3):
  """Draws every parameter, those that start at zero too."""
  rng = np.random.default_rng(1)
  draw = lambda x: (size * rng.standard_normal(x.shape)).astype(x.dtype)
  return jax.tree.map(draw, abstract_params(config, spec))


def init(key, channels=64):
  """Draws the parameters of `apply`."""
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


def shrunken(config, spec):
  """Cuts a configuration of any size down to one that a test can run."""
  small = {'width': 8, 'edge_width': 8, 'global_width': 8, 'depth': 1}
  small['class_tokens_from'] = 0
  n = config.network
  if isinstance(n, c.UNet):
    # Two levels, and attention on the lower one if there is any.
    shape = spec.latents['shape'] if spec.latents else spec.shape
    side = -(-shape[0] // n.patch_size // 2)
    small |= {'channels': 8, 'num_res_blocks': 1, 'channel_mults': (1, 2)}
    small['attention_resolutions'] = (side,) if n.attention_resolutions else ()
    small['head_channels'] = n.head_channels and 8
  elif isinstance(n, c.EDM2):
    small |= {'channels': 64, 'channel_mults': (1,), 'num_res_blocks': 1}
    small['attention_resolutions'] = ()
  elif isinstance(n, c.Autoencoder):
    small |= {'channels': 4, 'channel_mults': (1, 2), 'num_groups': 2}
    small |= {'num_res_blocks': 1, 'latent_channels': 2}
  else:
    small['num_heads'] = 2
  fields = {field.name for field in dataclasses.fields(n)}
  # Tiny latents have fewer channels than a recipe may guide.
  guidance = config.sampling.guidance.partition('(')[0]
  return changed(
    config,
    condition={'width': 8, 'depth': 1, 'num_heads': 2},
    network={name: x for name, x in small.items() if name in fields},
    optimizer={'warmup_steps': 1},
    training={'num_steps': 4, 'batch_size': 8, 'steps_per_execution': 1},
    sampling={'steps': 2, 'num': 2, 'guidance': guidance},
  )


def with_latents(config, spec, folder, seed=0):
  """Gives a configuration of latents a random autoencoder in a folder."""
  if config.latent.autoencoder is None:
    return config, spec
  levels = 2 if spec.shape[0] < 16 else 3
  network = AutoencoderKL(
    image_channels=spec.shape[-1],
    latent_channels=2,
    channels=4,
    channel_mults=(1, 2, 2)[:levels],
    num_res_blocks=1,
    num_groups=2,
  )
  images = jax.ShapeDtypeStruct((1, *spec.shape), np.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)['params']
  rng = np.random.default_rng(seed)
  draw = lambda x: (0.3 * rng.standard_normal(x.shape)).astype(np.float32)
  save_autoencoder(folder, network, jax.tree.map(draw, shapes))
  latents = {
    'shape': (*(n // network.factor for n in spec.shape[:2]), 2),
    'shift': (0.1, -0.2),
    'scale': (2.0, 0.5),
    'sha256': load_autoencoder(folder).sha256,
  }
  config = changed(config, latent={'autoencoder': str(folder)})
  return config, spec._replace(latents=latents)


def with_text(config, spec):
  """Adds the sizes of the text that the configuration encodes to a spec."""
  condition = config.condition
  dims = (condition.width,) * 2 if condition.text else None
  return spec._replace(text_dims=dims)


def conditions(config, num, sampling=False):
  """Conditions of zeros, as a batch has them, or with those of sampling."""
  condition, cond = config.condition, {}
  if condition.label or isinstance(config.diffusion, c.Classification):
    cond['label'] = np.zeros(num, np.int32)
  if condition.text == 'clip':  # read by the encoder beforehand
    cond['text'] = np.ones((num, 77, condition.width), np.float32)
    cond['pooled'] = np.ones((num, condition.width), np.float32)
  elif condition.text:
    cond['tokens'] = np.ones((num, condition.length), np.int32)
  if condition.low_res and sampling:
    size = condition.low_res
    cond['low_res'] = np.zeros((num, size, size, 3), np.float32)
  return cond


def null(config, batch):
  """The null value of each condition that is dropped in training: a row."""
  if isinstance(config.diffusion, c.Classification):
    return {}
  return {name: x[0] for name, x in batch['cond'].items()}


def text_spec(length=6, symbols='abc', sizes=False):
  """The spec of text over these characters, equally frequent.

  All texts have one length, or with `sizes` each length equally often.
  """
  num = len(symbols)
  distribution = (0.0, *[1 / length] * length)
  return c.Spec(
    'text',
    (length,),
    categories=num,
    symbols=tuple(symbols),
    marginals=(1 / num,) * num,
    sizes=distribution if sizes else None,
  )


def graph_spec(num=5, kinds=None, sizes=False):
  """The spec of graphs of up to `num` nodes, of so many kinds."""
  shape, categories = {'edges': (num, num)}, {'edges': 2}
  marginals = {'edges': (0.7, 0.3)}
  if kinds:
    shape = {'nodes': (num,), **shape}
    categories = {'nodes': kinds, **categories}
    marginals['nodes'] = (1 / kinds,) * kinds
  distribution = (0.0, *[1 / num] * num)
  return c.Spec(
    'graph',
    shape,
    categories=categories,
    marginals=marginals,
    sizes=distribution if sizes else None,
  )


def batch(config, spec, num):
  """A batch of zeros, with all that belongs to it."""
  kind = np.int32 if spec.categories else np.float32
  x0 = jax.tree.map(
    lambda shape: np.zeros((num, *shape), kind),
    spec.shape,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  made = {'x0': x0, 'cond': conditions(config, num)}
  if spec.sizes is not None:
    made['mask'] = jax.tree.map(lambda x: x == 0, x0)
  return made
