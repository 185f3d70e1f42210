"""Published models that become runs: their sizes, and what is refused."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxdiff.networks.dit import DiT, positions
from jaxdiff.networks.unet import UNet
from jaxdiff.pretrained.ddpm_weights import ddpm_settings
from jaxdiff.pretrained.dit_weights import dit_settings
from jaxdiff.runs import published

# Of google/ddpm-cifar10-32, as far as they are read.
CONFIG = {
  '_class_name': 'UNet2DModel',
  'act_fn': 'silu',
  'attention_head_dim': None,
  'block_out_channels': [128, 256, 256, 256],
  'center_input_sample': False,
  'down_block_types': ['DownBlock2D', 'AttnDownBlock2D'] + ['DownBlock2D'] * 2,
  'downsample_padding': 0,
  'flip_sin_to_cos': False,
  'freq_shift': 1,
  'in_channels': 3,
  'layers_per_block': 2,
  'mid_block_scale_factor': 1,
  'norm_eps': 1e-06,
  'norm_num_groups': 32,
  'out_channels': 3,
  'sample_size': 32,
  'time_embedding_type': 'positional',
  'up_block_types': ['UpBlock2D'] * 2 + ['AttnUpBlock2D', 'UpBlock2D'],
}
SCHEDULER = {
  '_class_name': 'DDPMScheduler',
  'beta_end': 0.02,
  'beta_schedule': 'linear',
  'beta_start': 0.0001,
  'clip_sample': True,
  'num_train_timesteps': 1000,
  'trained_betas': None,
  'variance_type': 'fixed_large',
}


def count(network, shape):
  xt, t = jnp.zeros((1, *shape)), jnp.zeros(1)
  shapes = jax.eval_shape(network.init, jax.random.key(0), xt, t)
  return sum(x.size for x in jax.tree.leaves(shapes))


def sizes_of_dit(width, depth, patch=2, side=16, classes=1000):
  """The tensors that say the sizes of a DiT, all zero but the positions."""
  zeros = lambda *shape: np.broadcast_to(np.float32(0), shape)
  return {
    'x_embedder.proj.weight': zeros(width, 4, patch, patch),
    'y_embedder.embedding_table.weight': zeros(classes + 1, width),
    'pos_embed': positions(side, side, width)[None],
    'final_layer.linear.weight': zeros(8 * patch**2, width),
    **{f'blocks.{i}.attn.qkv.bias': zeros(3 * width) for i in range(depth)},
  }


def test_full_size():
  settings, side, channels = ddpm_settings(CONFIG)
  assert (side, channels) == (32, 3)
  assert count(UNet(out_channels=3, **settings), (32, 32, 3)) == 35_746_307

  state = sizes_of_dit(1152, 28)
  settings, side, channels, classes = dit_settings(state)
  assert (side, channels, classes) == (32, 4, 1000)
  network = DiT(8, num_classes=classes, **settings)
  assert count(network, (32, 32, 4)) == 674_834_720


@pytest.mark.parametrize(
  'change, message',
  [
    ({'_class_name': 'UNet2DConditionModel'}, '_class_name must be UNet2DMod'),
    ({'flip_sin_to_cos': 1}, 'flip_sin_to_cos must be true or false'),
    ({'freq_shift': 2}, 'freq_shift must be one of'),
    ({'downsample_padding': 2}, 'downsample_padding must be one of'),
    ({'norm_eps': 0}, 'norm_eps must be float'),
    ({'time_embedding_type': 'fourier'}, 'time_embedding_type must be'),
    ({'act_fn': ['silu']}, 'act_fn must be silu'),
    ({'norm_num_groups': 48}, 'num_groups must divide'),
    ({'block_out_channels': [128, 200, 256, 256]}, 'multiples of the first'),
    ({'block_out_channels': []}, 'list of sizes'),
    ({'block_out_channels': [128] * 3}, 'down_block_types must be 3'),
    ({'down_block_types': ['SkipDownBlock2D'] * 4}, 'must be of DownBlock2D'),
    ({'up_block_types': ['UpBlock2D'] * 4}, 'their reverse'),
    ({'in_channels': 4}, 'must be equal'),
    ({'layers_per_block': 1e9}, 'layers_per_block must be int'),
  ],
)
def test_other_unets_are_refused(change, message, tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG | change))
  (tmp_path / 'scheduler_config.json').write_text(json.dumps(SCHEDULER))
  with pytest.raises(ValueError, match=message) as caught:
    published.read(tmp_path, 'run')
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'_class_name': 'ScoreSdeVeScheduler'}, '_class_name must be one of'),
    ({'beta_schedule': 'sigmoid'}, 'beta_schedule must be one of'),
    ({'trained_betas': [0.1]}, 'trained_betas must be one of'),
    ({'variance_type': 'learned'}, 'variance_type must be one of'),
    ({'prediction_type': {}}, 'prediction_type must be one of'),
    ({'thresholding': True}, 'thresholding must be one of'),
    ({'beta_end': -1}, 'beta_end must be float'),
  ],
)
def test_other_schedulers_are_refused(change, message, tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
  path = tmp_path / 'scheduler_config.json'
  path.write_text(json.dumps(SCHEDULER | change))
  with pytest.raises(ValueError, match=message):
    published.read(tmp_path, 'run')
  path.unlink()
  with pytest.raises(FileNotFoundError, match='scheduler_config.json'):
    published.read(tmp_path, 'run')


def test_other_files_are_refused(tmp_path):
  (tmp_path / 'edm.pkl').write_bytes(pickle.dumps({'ema': 1}))
  with pytest.raises(ValueError, match='are programs, and are not read'):
    published.read(tmp_path / 'edm.pkl', 'run')
  with pytest.raises(FileNotFoundError, match='fetch a folder in the layout'):
    published.read(tmp_path / 'absent.pt', 'run')
  path = tmp_path / 'x.safetensors'
  save_file({'a': np.zeros(1)}, path)
  with pytest.raises(ValueError, match='holds no DiT and no EDM'):
    published.read(path, 'run')
  contiguous = np.ascontiguousarray

  def read(state, **flags):
    save_file({k: contiguous(x) for k, x in state.items()}, path)
    published.read(path, 'run', **{'autoencoder': str(tmp_path)} | flags)

  state = sizes_of_dit(8, 1, side=2, classes=3)
  with pytest.raises(ValueError, match='give --autoencoder'):
    read(state, autoencoder=None)
  with pytest.raises(ValueError, match='width 8 is none of S, B, L and XL'):
    read(state)
  with pytest.raises(ValueError, match='missing: blocks.0.adaLN_modulation'):
    read(state, num_heads=2)
  with pytest.raises(ValueError, match='pos_embed is not the fixed'):
    read(state | {'pos_embed': np.ones((1, 4, 8), 'f')}, num_heads=2)
  with pytest.raises(ValueError, match='learns the variance'):
    read(state | {'final_layer.linear.weight': np.ones((16, 8), 'f')})
  with pytest.raises(ValueError, match='have shapes'):
    read(state | {'pos_embed': np.ones((4, 8), 'f')})
