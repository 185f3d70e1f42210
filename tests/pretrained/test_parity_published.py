"""Runs of published models against their torch originals, all tensors random.

DDPM is that of diffusers, by way of its folder. DiT is written here after the
paper and its released names, and is saved by torch.save.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_published import CONFIG, SCHEDULER

import sample
from jaxdiff import parallel, runs
from jaxdiff.networks.autoencoder import AutoencoderKL
from jaxdiff.networks.dit import positions
from jaxdiff.pretrained.__main__ import main
from jaxdiff.pretrained.autoencoder_weights import save_autoencoder
from jaxdiff.runs import exports

torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')
nn = torch.nn


def randomise(net, gain):
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, parameter in net.named_parameters():
      if name != 'pos_embed':
        fan = parameter[0].numel() if parameter.ndim > 1 else 1
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(gain * noise / fan**0.5)
  return net.eval()


def eps_of(workdir, xt, steps, cond):
  """The prediction of the run's network at timesteps of theirs."""
  run = runs.load(workdir, parallel.local_mesh())
  t = (jnp.asarray(steps, jnp.float32) + 1) / 1000
  denoise = run.model.denoiser(run.params, cond)
  x0 = jax.jit(denoise)(xt, t)
  alpha, sigma = (x.reshape(-1, 1, 1, 1) for x in run.model.schedule(t))
  return (xt - alpha * x0) / sigma, run


def relative(ours, theirs):
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


# As diffusers trains a UNet2DModel unless it is told otherwise.
OTHERS = {
  'block_out_channels': [32, 64],
  'norm_num_groups': 8,
  'norm_eps': 1e-5,
  'flip_sin_to_cos': True,
  'freq_shift': 0,
  'downsample_padding': 1,
  'attention_head_dim': 8,
}


@pytest.mark.parametrize('gain, others', [(1.0, {}), (0.1, {}), (0.1, OTHERS)])
def test_ddpm(gain, others, tmp_path):
  sizes = {
    'sample_size': 8,
    'block_out_channels': [128, 256],
    'layers_per_block': 1,
    'down_block_types': ['DownBlock2D', 'AttnDownBlock2D'],
    'up_block_types': ['AttnUpBlock2D', 'UpBlock2D'],
  } | others
  config = {k: x for k, x in (CONFIG | sizes).items() if k[0] != '_'}
  theirs = randomise(diffusers.UNet2DModel(**config), gain)
  scheduler = {k: x for k, x in SCHEDULER.items() if k[0] != '_'}
  scheduler = diffusers.DDPMScheduler(**scheduler)
  diffusers.DDPMPipeline(theirs, scheduler).save_pretrained(tmp_path / 'ddpm')
  workdir = tmp_path / 'run'
  main(['import', str(tmp_path / 'ddpm'), str(workdir)])

  xt = jax.random.normal(jax.random.key(0), (3, 8, 8, 3))
  steps = np.array([100, 500, 999])
  found, run = eps_of(workdir, xt, steps, {})
  with torch.no_grad():
    images = torch.as_tensor(np.array(xt).transpose(0, 3, 1, 2))
    expected = theirs(images, torch.as_tensor(steps)).sample
  assert relative(found, expected.numpy().transpose(0, 2, 3, 1)) < 2e-5
  # And back, bit for bit.
  exports.save(run, tmp_path / 'x.safetensors')
  state = exports.read_safetensors(tmp_path / 'x.safetensors')
  assert state.keys() == theirs.state_dict().keys()
  for name, tensor in theirs.state_dict().items():
    np.testing.assert_array_equal(state[name], tensor.numpy())
  if gain == 1.0:
    flags = ['--num', '2', '--steps', '2', '--out', str(tmp_path / 'x.npz')]
    sample.main([str(workdir), *flags])
    with np.load(tmp_path / 'x.npz') as file:
      assert file['arr_0'].shape == (2, 8, 8, 3)


def modulate(x, shift, scale):
  return x * (1 + scale[:, None]) + shift[:, None]


class Attention(nn.Module):
  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

  def forward(self, x):
    b, length, width = x.shape
    qkv = self.qkv(x).reshape(b, length, 3, self.heads, width // self.heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    x = nn.functional.scaled_dot_product_attention(q, k, v)
    return self.proj(x.transpose(1, 2).reshape(b, length, width))


class MLP(nn.Module):
  def __init__(self, width):
    super().__init__()
    self.fc1 = nn.Linear(width, 4 * width)
    self.fc2 = nn.Linear(4 * width, width)

  def forward(self, x):
    return self.fc2(nn.functional.gelu(self.fc1(x), approximate='tanh'))


class Block(nn.Module):
  def __init__(self, width, heads):
    super().__init__()
    self.attn, self.mlp = Attention(width, heads), MLP(width)
    self.adaLN_modulation = nn.Sequential(
      nn.SiLU(), nn.Linear(width, 6 * width)
    )

  def forward(self, x, c):
    norm = lambda x: nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)
    parts = self.adaLN_modulation(c).chunk(6, dim=1)
    shift_0, scale_0, gate_0, shift_1, scale_1, gate_1 = parts
    h = self.attn(modulate(norm(x), shift_0, scale_0))
    x = x + gate_0[:, None] * h
    h = self.mlp(modulate(norm(x), shift_1, scale_1))
    return x + gate_1[:, None] * h


class Named(nn.Module):
  """A module of submodules by name."""

  def __init__(self, **parts):
    super().__init__()
    for name, part in parts.items():
      setattr(self, name, part)


class DiT(nn.Module):
  """Peebles and Xie 2022, section 3, with the names of the released code."""

  def __init__(self, width, depth, heads, patch, side, classes):
    super().__init__()
    linear, self.patch = nn.Linear, patch
    places = positions(side // patch, side // patch, width)[None]
    self.pos_embed = nn.Parameter(torch.as_tensor(places), requires_grad=False)
    self.x_embedder = Named(proj=nn.Conv2d(4, width, patch, patch))
    mlp = nn.Sequential(linear(256, width), nn.SiLU(), linear(width, width))
    self.t_embedder = Named(mlp=mlp)
    table = nn.Embedding(classes + 1, width)
    self.y_embedder = Named(embedding_table=table)
    self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
    self.final_layer = Named(
      linear=linear(width, patch * patch * 8),
      adaLN_modulation=nn.Sequential(nn.SiLU(), linear(width, 2 * width)),
    )

  def forward(self, x, t, y):
    b, p = len(x), self.patch
    x = self.x_embedder.proj(x)
    h, w = x.shape[2:]
    x = x.flatten(2).transpose(1, 2) + self.pos_embed
    w_i = torch.exp(-np.log(10000) * torch.arange(128) / 128)
    angles = t[:, None].float() * w_i[None]
    waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)
    c = self.t_embedder.mlp(waves) + self.y_embedder.embedding_table(y)
    for block in self.blocks:
      x = block(x, c)
    shift, scale = self.final_layer.adaLN_modulation(c).chunk(2, dim=1)
    x = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)
    x = self.final_layer.linear(modulate(x, shift, scale))
    x = x.reshape(b, h, w, p, p, 8)
    return torch.einsum('nhwpqc->nchpwq', x).reshape(b, 8, h * p, w * p)


@pytest.mark.parametrize('gain', [1.0, 0.1])
def test_dit(gain, tmp_path):
  theirs = randomise(DiT(48, 2, 4, 2, 8, 5), gain)
  torch.save(theirs.state_dict(), tmp_path / 'DiT.pt')
  coder = AutoencoderKL(
    latent_channels=4,
    channels=8,
    channel_mults=(1, 2),
    num_groups=4,
    num_res_blocks=1,
  )
  init = jax.jit(coder.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
  save_autoencoder(tmp_path / 'vae', coder, init['params'])
  workdir = tmp_path / 'run'
  flags = ['--autoencoder', str(tmp_path / 'vae'), '--num-heads', '4']
  main(['import', str(tmp_path / 'DiT.pt'), str(workdir), *flags])

  xt = jax.random.normal(jax.random.key(0), (3, 8, 8, 4))
  steps, label = np.array([100, 500, 999]), np.array([0, 4, 5])
  found, run = eps_of(workdir, xt, steps, {'label': label})
  with torch.no_grad():
    latents = torch.as_tensor(np.array(xt).transpose(0, 3, 1, 2))
    out = theirs(latents, torch.as_tensor(steps), torch.as_tensor(label))
  expected = out.numpy().transpose(0, 2, 3, 1)[..., :4]
  assert relative(found, expected) < 2e-5
  assert run.spec.num_classes == 5 and run.spec.shape == (16, 16, 3)
  if gain == 0.1:
    flags = ['--labels', '1,2', '--num', '2', '--steps', '2', '--scale', '4']
    sample.main([str(workdir), *flags, '--out', str(tmp_path / 'x.npz')])
    with np.load(tmp_path / 'x.npz') as file:
      assert file['arr_0'].shape == (2, 16, 16, 3)
