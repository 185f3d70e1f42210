"""The whole U-Net against diffusers' two, every parameter random."""

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
SETTINGS = dict(
  sample_size=8,
  in_channels=3,
  out_channels=3,
  # 128 channels, for there our rule of groups is their constant 32.
  block_out_channels=tuple(128 * mult for mult in MULTS),
  layers_per_block=BLOCKS,
  downsample_padding=0,
  flip_sin_to_cos=False,
  freq_shift=1,
  norm_eps=1e-6,
  norm_num_groups=32,
)

RESIDUAL = {
  'norm_0': 'norm1',
  'conv_0': 'conv1',
  'emb': 'time_emb_proj',
  'norm_1': 'norm2',
  'conv_1': 'conv2',
  'shortcut': 'conv_shortcut',
}
PROJECTIONS = {'q': 'to_q', 'k': 'to_k', 'v': 'to_v', 'out': 'to_out.0'}
ATTENTION = {'norm': 'group_norm'} | {
  f'attention.{ours}': theirs for ours, theirs in PROJECTIONS.items()
}
TEXT_BLOCK = {
  'norm_0': 'norm1',
  'norm_1': 'norm2',
  'norm_2': 'norm3',
  'mlp.in': 'ff.net.0.proj',
  'mlp.out': 'ff.net.2',
}
for name, theirs in PROJECTIONS.items():
  TEXT_BLOCK[f'self_attention.{name}'] = f'attn1.{theirs}'
  TEXT_BLOCK[f'text_attention.{name}'] = f'attn2.{theirs}'
TRANSFORMER = {name: name for name in ('norm', 'proj_in', 'proj_out')} | {
  f'block_{i}.{ours}': f'transformer_blocks.{i}.{theirs}'
  for i in range(2)
  for ours, theirs in TEXT_BLOCK.items()
}


def their_name(path, attention):
  """Our parameter path -> theirs, without '.weight' or '.bias'."""
  block, inside = path[0], '.'.join(path[1:])
  kind, *index = block.removesuffix('_attention').split('_')
  if not inside:
    if kind == 'time':
      return f'time_embedding.linear_{int(index[0]) + 1}'
    if kind == 'down':
      return f'down_blocks.{int(index[0]) - 1}.downsamplers.0.conv'
    if kind == 'up':
      up = len(MULTS) - 1 - int(index[0])
      return f'up_blocks.{up}.upsamplers.0.conv'
    names = {'norm_out': 'conv_norm_out', 'label': 'class_embedding'}
    return names.get(block, block)
  if block.endswith('_attention'):
    inner, leaf = 'attentions', attention[inside]
  else:
    inner, leaf = 'resnets', RESIDUAL[inside]
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


def randomise(theirs, gain):
  """Every parameter random, so that none hides behind a zero or a one."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for parameter in theirs.parameters():
      fan = parameter[0].numel() if parameter.ndim > 1 else 1
      noise = torch.randn(parameter.shape, generator=generator)
      parameter.copy_(gain * noise / fan**0.5)


def relative_error(ours, theirs, attention, cond=None, **settings):
  """Of our output with their parameters; their `settings` are their cond."""
  xt = jax.random.normal(jax.random.key(0), (3, 8, 8, 3))
  steps = np.array([0, 250, 999])
  t = jnp.asarray(steps / 1000, jnp.float32)
  shapes = jax.eval_shape(ours.init, jax.random.key(0), xt, t, cond)['params']

  state = {k: v.numpy() for k, v in theirs.state_dict().items()}
  params = {}
  for path, shape in flatten_dict(shapes).items():
    suffix = 'bias' if path[-1] == 'bias' else 'weight'
    tensor = state.pop(f'{their_name(path[:-1], attention)}.{suffix}')
    params[path] = our_array(path[-1], tensor)
    assert params[path].shape == shape.shape, path
  assert not state

  with torch.no_grad():
    images = torch.from_numpy(np.array(xt).transpose(0, 3, 1, 2))
    expected = theirs(images, torch.from_numpy(steps), **settings).sample
  expected = expected.numpy().transpose(0, 2, 3, 1)
  params = {'params': unflatten_dict(params)}
  out = jax.jit(ours.apply)(params, xt, t, cond)
  return np.linalg.norm(out - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize('gain', [1.0, 0.1])
def test_forward_pass_is_that_of_diffusers(gain):
  from diffusers import UNet2DModel

  theirs = UNet2DModel(
    **SETTINGS,
    down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
    up_block_types=('AttnUpBlock2D', 'UpBlock2D'),
    attention_head_dim=None,
  ).eval()
  randomise(theirs, gain)
  ours = UNet(
    3,
    channel_mults=MULTS,
    num_res_blocks=BLOCKS,
    attention_resolutions=(4,),
  )
  assert relative_error(ours, theirs, ATTENTION) < 1e-5


@pytest.mark.parametrize('gain', [1.0, 0.1])
def test_forward_pass_with_text_is_that_of_diffusers(gain):
  """Transformers as in Stable Diffusion, with a mask; and labels."""
  from diffusers import UNet2DConditionModel

  theirs = UNet2DConditionModel(
    **SETTINGS,
    down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'),
    up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'),
    attention_head_dim=4,  # which is the number of heads
    cross_attention_dim=24,
    transformer_layers_per_block=2,
    num_class_embeds=3,
  ).eval()
  randomise(theirs, gain)
  ours = UNet(
    3,
    channel_mults=MULTS,
    num_res_blocks=BLOCKS,
    attention_resolutions=(4,),
    num_heads=4,
    num_classes=2,
    text_dim=24,
    transformer_depth=2,
  )
  text = np.random.default_rng(0).normal(size=(3, 5, 24)).astype(np.float32)
  mask = np.arange(5) < np.array([5, 3, 1])[:, None]
  label = np.array([0, 1, 2])
  error = relative_error(
    ours,
    theirs,
    TRANSFORMER,
    {'text': jnp.array(text), 'mask': jnp.array(mask), 'label': label},
    encoder_hidden_states=torch.from_numpy(text),
    encoder_attention_mask=torch.from_numpy(mask),
    class_labels=torch.from_numpy(label),
  )
  assert error < 1e-5
