"""GPT-2 against transformers, every tensor random, from the file it writes."""

import jax
import numpy as np
import pytest
import tiny_gpt2

from jaxdiff.networks.gpt2 import GPT2
from jaxdiff.pretrained.gpt2_weights import read_gpt2


def test_the_smallest_has_its_published_size():
  tokens = np.zeros((1, 2), np.int32)
  shapes = jax.eval_shape(GPT2().init, jax.random.key(0), tokens)
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 124_439_808


@pytest.mark.parametrize('gain', [1.0, 0.05])
@pytest.mark.parametrize('prefix', ['', 'transformer.'])
def test_logits_are_those_of_transformers(gain, prefix, tmp_path):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  config = transformers.GPT2Config(**tiny_gpt2.CONFIG)
  config._attn_implementation = 'eager'
  theirs = transformers.GPT2LMHeadModel(config).eval()
  tensors = tiny_gpt2.state(gain)
  tied = {f'transformer.{k}': torch.tensor(x) for k, x in tensors.items()}
  tied['lm_head.weight'] = tied['transformer.wte.weight']
  theirs.load_state_dict(tied, strict=False)
  named = {prefix + name: x for name, x in tensors.items()}
  ours = read_gpt2(tiny_gpt2.write(tmp_path / 'gpt2', named))
  tokens = np.random.default_rng(1).integers(0, 12, (3, 16))
  with torch.no_grad():
    expected = theirs(torch.tensor(tokens)).logits.numpy()
  found = ours.network.apply({'params': ours.params}, tokens)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(found / scale, expected / scale, atol=5e-6)
