"""Inception-v3 against pytorch-fid and torch-fidelity, every tensor random,
by way of a file of torch.save in either format."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torchvision_python

from jaxdiff.networks.inception import Inception
from jaxdiff.pretrained.inception_weights import load_inception

torch = pytest.importorskip('torch')
torchvision_python.import_or_skip()
pytest.importorskip('pytorch_fid')
pytest.importorskip('torch_fidelity')

# Only after torchvision can be imported, hence noqa: they may be absent.
from pytorch_fid import inception as pytorch_fid  # noqa: E402
from torch_fidelity.feature_extractor_inceptionv3 import (  # noqa: E402
  FeatureExtractorInceptionV3,
)
from torchvision.models import inception_v3  # noqa: E402


def random_state(gain):
  """A state dict of small activations: those are what the norms' eps is seen
  in, for the running variances are of the order of gain^2."""
  shapes = inception_v3(
    num_classes=1008, aux_logits=False, init_weights=False
  ).state_dict()
  rng = np.random.default_rng(0)
  state = {}
  for name, tensor in shapes.items():
    noise = rng.normal(size=tensor.shape)
    if name.endswith('num_batches_tracked'):
      value = np.int64(1000)
    elif name.endswith('running_var'):
      value = gain**2 * rng.uniform(0.5, 1.5, tensor.shape)
    elif name.endswith('running_mean'):
      value = 0.1 * gain * noise
    elif tensor.ndim > 1:
      value = gain * noise * (2 / tensor[0].numel()) ** 0.5
    elif name.endswith('bn.weight'):
      value = 1 + 0.1 * noise
    else:
      value = 0.1 * noise
    state[name] = torch.as_tensor(np.asarray(value)).to(tensor.dtype)
  return state


def relative(ours, theirs):
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


# torch 1.6 changed the format; the file of pytorch-fid is of before.
@pytest.mark.parametrize('gain, zipped', [(1.0, True), (0.05, False)])
def test_features_are_those_of_both_packages(
  gain, zipped, tmp_path, monkeypatch
):
  state = random_state(gain)
  path = tmp_path / 'inception.pth'
  torch.save(state, path, _use_new_zipfile_serialization=zipped)
  params = load_inception(path).params

  # Of 299 pixels already, so that no resizing rule comes in.
  images = np.random.default_rng(1).integers(0, 256, (2, 299, 299, 3))
  nchw = torch.as_tensor(images.transpose(0, 3, 1, 2))
  apply = jax.jit(Inception().apply)

  monkeypatch.setattr(
    pytorch_fid, 'load_state_dict_from_url', lambda *_, **__: state
  )
  net = pytorch_fid.InceptionV3([2, 3], resize_input=False).eval()
  seen = {}
  block = net.blocks[2][6]  # Mixed_6d
  block.branch1x1.register_forward_hook(
    lambda _, __, out: seen.update(spatial=out[:, :7])
  )
  with torch.no_grad():
    pool = net(nchw.float() / 255)[1].numpy()[:, :, 0, 0]
  ours = apply({'params': params}, jnp.asarray(images / 127.5 - 1, 'float32'))
  assert relative(ours.pool, pool) < 2e-6
  spatial = seen['spatial'].numpy().transpose(0, 2, 3, 1).reshape(2, -1)
  # Seven channels with no mean over them: rounding is not evened out.
  assert relative(ours.spatial, spatial) < 5e-6

  net = FeatureExtractorInceptionV3(
    'inception',
    ['2048', 'logits_unbiased', 'logits'],
    feature_extractor_weights_path=path,
  )
  with torch.no_grad():
    theirs = [x.numpy() for x in net(nchw.to(torch.uint8))]
  images = jnp.asarray((images - 128) / 128, 'float32')
  ours = apply({'params': params}, images)
  for mine, other in zip(
    (ours.pool, ours.logits, ours.class_logits), theirs, strict=True
  ):
    assert relative(mine, other) < 2e-6
