"""The encoder of T5 against transformers, by way of its files, all random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.networks import t5
from jaxdiff.pretrained.t5_weights import load_t5

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

SIZES = dict(
  vocab_size=50,
  d_model=24,
  d_kv=5,
  d_ff=40,
  num_layers=3,
  num_heads=4,
  feed_forward_proj='gated-gelu',
)


def randomise(net, gain):
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, parameter in net.named_parameters():
      noise = torch.randn(parameter.shape, generator=generator)
      table = 'shared' in name or 'embed' in name or 'bias' in name
      fan = 1 if table or parameter.ndim < 2 else parameter.shape[1]
      parameter.copy_(gain * noise / fan**0.5)
  return net.eval()


@pytest.mark.parametrize('gain', [1.0, 0.05])
@pytest.mark.parametrize('kind', ['T5', 'UMT5'])
def test_vectors_are_those_of_transformers(kind, gain, tmp_path):
  config = getattr(transformers, f'{kind}Config')(**SIZES)
  theirs = randomise(getattr(transformers, f'{kind}EncoderModel')(config), gain)
  theirs.save_pretrained(tmp_path)
  network, params, _ = load_t5(tmp_path)
  assert network.shared_bias == (kind == 'T5')
  tokens = np.random.default_rng(0).integers(1, 50, (3, 40))
  for row, length in enumerate((40, 3, 17)):
    tokens[row, length:] = 0
  found = jax.jit(network.apply)({'params': params}, jnp.asarray(tokens))
  mask = torch.as_tensor(tokens != 0)
  with torch.no_grad():
    expected = theirs(torch.as_tensor(tokens), attention_mask=mask.long())
  expected = (expected.last_hidden_state * mask[..., None]).numpy()
  error = np.linalg.norm(found['text'] - expected)
  assert error < 5e-6 * np.linalg.norm(expected)


def test_a_file_of_the_whole_network(tmp_path):
  whole = randomise(
    transformers.T5ForConditionalGeneration(transformers.T5Config(**SIZES)), 1.0
  )
  whole.save_pretrained(tmp_path / 'whole')
  part = transformers.T5EncoderModel.from_pretrained(tmp_path / 'whole')
  part.save_pretrained(tmp_path / 'part')
  ours, theirs = (load_t5(tmp_path / name).params for name in ('whole', 'part'))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize('num, most', [(32, 128), (8, 16), (64, 300)])
def test_ranges_of_distances(num, most):
  from transformers.models.t5.modeling_t5 import T5Attention

  place = torch.arange(700)
  expected = T5Attention._relative_position_bucket(
    place[None] - place[:, None], num_buckets=num, max_distance=most
  )
  np.testing.assert_array_equal(t5.buckets(700, num, most), expected)


def test_full_size():
  """T5 v1.1 XXL, and umT5 XXL: the parameters that transformers counts."""
  for kind, sizes in {
    'T5': dict(vocab_size=32128),
    'UMT5': dict(vocab_size=256384),
  }.items():
    sizes |= dict(d_model=4096, d_ff=10240, num_layers=24, num_heads=64)
    config = getattr(transformers, f'{kind}Config')(
      **sizes, feed_forward_proj='gated-gelu'
    )
    with torch.device('meta'):
      theirs = getattr(transformers, f'{kind}EncoderModel')(config)
    ours = t5.T5Encoder(
      vocab_size=sizes['vocab_size'],
      width=4096,
      mlp_width=10240,
      num_layers=24,
      num_heads=64,
      shared_bias=kind == 'T5',
    )
    tokens = jnp.zeros((1, 1), jnp.int32)
    shapes = jax.eval_shape(ours.init, jax.random.key(0), tokens)
    number = sum(x.size for x in jax.tree.leaves(shapes))
    assert number == sum(p.numel() for p in theirs.parameters())
