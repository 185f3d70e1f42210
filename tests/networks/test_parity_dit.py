"""The whole DiT against diffusers', every parameter random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff.networks.dit import DiT

pytest.importorskip('diffusers')
torch = pytest.importorskip('torch')

NAMES = {
  'patch_in': 'pos_embed.proj',
  'time_0': 'norm1.emb.timestep_embedder.linear_1',
  'time_1': 'norm1.emb.timestep_embedder.linear_2',
  'label': 'norm1.emb.class_embedder.embedding_table',
  'modulation': 'proj_out_1',
  'patch_out': 'proj_out_2',
}
BLOCK = {
  'modulation': 'norm1.linear',
  'attention.q': 'attn1.to_q',
  'attention.k': 'attn1.to_k',
  'attention.v': 'attn1.to_v',
  'attention.out': 'attn1.to_out.0',
  'mlp_0': 'ff.net.0.proj',
  'mlp_1': 'ff.net.2',
}


def make_theirs(width, depth, heads, size, patch, classes):
  from diffusers import DiTTransformer2DModel

  return DiTTransformer2DModel(
    num_attention_heads=heads,
    attention_head_dim=width // heads,
    in_channels=4,
    out_channels=8,
    num_layers=depth,
    sample_size=size,
    patch_size=patch,
    num_embeds_ada_norm=classes,
    norm_eps=1e-6,  # of the second norms; the others' is fixed, and the same
  )


def make_ours(width, depth, heads, patch, classes):
  return DiT(8, patch, width, depth, heads, num_classes=classes)


def shapes(net, size):
  args = (jnp.zeros((1, size, size, 4)), jnp.zeros(1))
  return jax.eval_shape(net.init, jax.random.key(0), *args)['params']


def embedding(number):
  """Where every block of theirs has its own copy of the embeddings."""
  return f'transformer_blocks.{number}.norm1.emb.'


def our_array(path, theirs):
  if path[-1] != 'kernel':
    return theirs
  if theirs.ndim == 4:  # a convolution, a patch being a row of ours
    return theirs.transpose(2, 3, 1, 0).reshape(-1, theirs.shape[0])
  if path[0] == 'time_0':  # cosines come first with them
    theirs = np.roll(theirs, theirs.shape[1] // 2, axis=1)
  return theirs.T


@pytest.mark.parametrize('gain', [1.0, 0.1])
@pytest.mark.parametrize('size, patch', [(8, 2), (6, 3)])
def test_forward_pass_is_that_of_diffusers(gain, size, patch):
  settings = dict(width=32, depth=2, heads=4, patch=patch, classes=5)
  theirs = make_theirs(size=size, **settings).eval()
  ours = make_ours(**settings)
  generator = torch.Generator().manual_seed(0)
  state = theirs.state_dict()
  for name, tensor in state.items():
    fan = tensor[0].numel() if tensor.ndim > 1 else 1
    noise = torch.randn(tensor.shape, generator=generator)
    shared = name.replace(embedding(1), embedding(0))
    state[name] = state[shared] if shared != name else gain * noise / fan**0.5
  theirs.load_state_dict(state)

  def take(path, name):
    ending = '.bias' if path[-1] == 'bias' else '.weight'
    return our_array(path, state.pop(name + ending).numpy())

  params = {}
  for path, shape in flatten_dict(shapes(ours, size)).items():
    inside = '.'.join(path[1:-1])
    if inside:
      blocks = (f'transformer_blocks.{i}.{BLOCK[inside]}' for i in range(2))
      params[path] = np.stack([take(path, name) for name in blocks])
    else:
      name = NAMES[path[0]].replace('norm1.emb.', embedding(0))
      params[path] = take(path, name)
    assert params[path].shape == shape.shape, path
  assert all(name.startswith(embedding(1)) for name in state)

  xt = jax.random.normal(jax.random.key(0), (3, size, size, 4))
  steps, label = np.array([0, 250, 999]), np.array([0, 4, 5])
  t = jnp.asarray(steps / 1000, jnp.float32)
  params = {'params': unflatten_dict(params)}
  out = jax.jit(ours.apply)(params, xt, t, {'label': label})
  with torch.no_grad():
    expected = theirs(
      torch.from_numpy(np.array(xt).transpose(0, 3, 1, 2)),
      torch.from_numpy(steps),
      torch.from_numpy(label),
    ).sample.numpy()
  error = np.linalg.norm(out - expected.transpose(0, 2, 3, 1))
  assert error < 1e-5 * np.linalg.norm(expected)


def test_xl_has_as_many_parameters_as_that_of_diffusers():
  settings = dict(width=1152, depth=28, heads=16, patch=2, classes=1000)
  with torch.device('meta'):
    theirs = make_theirs(size=32, **settings)
  sizes = {name: p.numel() for name, p in theirs.named_parameters()}
  copies = [embedding(i) for i in range(1, 28)]
  number = sum(
    size
    for name, size in sizes.items()
    if not any(name.startswith(copy) for copy in copies)
  )
  ours = jax.tree.leaves(shapes(make_ours(**settings), 32))
  assert sum(leaf.size for leaf in ours) == number
