"""The whole U-Net against diffusers' `UNet2DModel`, every parameter random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff.networks.unet import UNet

pytest.importorskip('diffusers')
torch = pytest.importorskip('torch')

MULTS = (1, 2)
BLOCKS = 1


def their_name(path):
  """Our parameter path -> theirs, without '.weight' or '.bias'."""
  *block, layer = path
  leaf = {
    'norm_0': 'norm1',
    'conv_0': 'conv1',
    'emb': 'time_emb_proj',
    'norm_1': 'norm2',
    'conv_1': 'conv2',
    'shortcut': 'conv_shortcut',
    'norm': 'group_norm',
    'q': 'to_q',
    'k': 'to_k',
    'v': 'to_v',
    'out': 'to_out.0',
  }.get(layer)
  if not block:
    kind, *index = layer.split('_')
    if kind == 'time':
      return f'time_embedding.linear_{int(index[0]) + 1}'
    if kind == 'down':
      return f'down_blocks.{int(index[0]) - 1}.downsamplers.0.conv'
    if kind == 'up':
      up = len(MULTS) - 1 - int(index[0])
      return f'up_blocks.{up}.upsamplers.0.conv'
    return {'norm_out': 'conv_norm_out'}.get(layer, layer)
  kind, *index = block[0].removesuffix('_attention').split('_')
  inner = 'attentions' if block[0].endswith('_attention') else 'resnets'
  if kind == 'middle':
    where = f'mid_block.{inner}.{index[0] if index else 0}'
  elif kind == 'encoder':
    where = f'down_blocks.{index[0]}.{inner}.{index[1]}'
  else:
    where = f'up_blocks.{len(MULTS) - 1 - int(index[0])}.{inner}.{index[1]}'
  return f'{where}.{leaf}'


def our_array(name, theirs):
  """Their tensor in our layout: convolutions HWIO, matrices [in, out]."""
  if name != 'kernel':
    return theirs
  if theirs.ndim == 4:
    theirs = theirs.transpose(2, 3, 1, 0)
    return theirs[0, 0] if theirs.shape[:2] == (1, 1) else theirs
  return theirs.T


@pytest.mark.parametrize('gain', [1.0, 0.1])
def test_forward_pass_is_that_of_diffusers(gain):
  from diffusers import UNet2DModel

  # 128 channels, for there our rule of groups is their constant 32.
  theirs = UNet2DModel(
    sample_size=8,
    in_channels=3,
    out_channels=3,
    block_out_channels=tuple(128 * mult for mult in MULTS),
    layers_per_block=BLOCKS,
    down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
    up_block_types=('AttnUpBlock2D', 'UpBlock2D'),
    attention_head_dim=None,
    downsample_padding=0,
    flip_sin_to_cos=False,
    freq_shift=1,
    norm_eps=1e-6,
    norm_num_groups=32,
  ).eval()
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for parameter in theirs.parameters():
      fan = parameter[0].numel() if parameter.ndim > 1 else 1
      noise = torch.randn(parameter.shape, generator=generator)
      parameter.copy_(gain * noise / fan**0.5)

  ours = UNet(
    3,
    channel_mults=MULTS,
    num_res_blocks=BLOCKS,
    attention_resolutions=(4,),
  )
  xt = jax.random.normal(jax.random.key(0), (3, 8, 8, 3))
  steps = np.array([0, 250, 999])
  t = jnp.asarray(steps / 1000, jnp.float32)
  shapes = jax.eval_shape(ours.init, jax.random.key(0), xt, t)['params']

  state = {k: v.numpy() for k, v in theirs.state_dict().items()}
  params = {}
  for path, shape in flatten_dict(shapes).items():
    where = [part for part in path[:-1] if part != 'attention']
    suffix = 'bias' if path[-1] == 'bias' else 'weight'
    tensor = state.pop(f'{their_name(where)}.{suffix}')
    params[path] = our_array(path[-1], tensor)
    assert params[path].shape == shape.shape, path
  assert not state

  with torch.no_grad():
    images = torch.from_numpy(np.array(xt).transpose(0, 3, 1, 2))
    expected = theirs(images, torch.from_numpy(steps)).sample.numpy()
  out = jax.jit(ours.apply)({'params': unflatten_dict(params)}, xt, t)
  error = np.linalg.norm(out - expected.transpose(0, 2, 3, 1))
  assert error < 1e-5 * np.linalg.norm(expected)
