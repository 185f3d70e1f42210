"""Features of several networks in one pass, DINOv2's among them."""

import json

import jax
import numpy as np
import pytest
import tiny_dino
from measured import make_classifier
from PIL import Image

from jaxdiff.evaluation import extractors
from jaxdiff.evaluation.__main__ import main
from jaxdiff.pretrained import resize
from jaxdiff.pretrained.files import sha256


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
  """Programs for eight take several times as long to compile."""
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:2])


def test_resize_rule_is_that_of_dgm_eval():
  images = np.random.default_rng(0).integers(0, 256, (2, 9, 5, 3), np.uint8)
  rule = resize.RULES['dinov2'](14)
  found = np.asarray(rule.device(rule.host(images)))
  mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
  for x, image in zip(found, images, strict=True):
    pixels = Image.fromarray(image).resize((14, 14), Image.Resampling.BICUBIC)
    expected = (np.asarray(pixels) / 255 - mean) / std
    np.testing.assert_allclose(x, expected, atol=1e-6)
  grey = rule.host(images[..., :1])
  np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_one_pass_gives_what_each_network_gives_alone(tmp_path, capsys):
  classifier, dino = tmp_path / 'classifier', tiny_dino.save(tmp_path / 'dino')
  make_classifier(classifier)
  rng = np.random.default_rng(0)
  for name in ('x', 'real'):
    x = rng.integers(0, 256, (12, 8, 8, 1), np.uint8)
    np.savez(tmp_path / f'{name}.npz', arr_0=x)
  cache = tmp_path / 'cache'

  def fid(*features):
    out = tmp_path / 'result.json'
    files = ['--samples', tmp_path / 'x.npz', '--out', out, '--cache', cache]
    real = ['--reference', tmp_path / 'real.npz', '--metrics', 'all']
    main(['fid', *map(str, [*files, *real, '--features', *features])])
    return json.loads(out.read_text())

  first, second = f'classifier:{classifier}', f'dinov2:{dino}'
  both = fid(first, second)
  assert len(list(cache.iterdir())) == 2  # one reference a network
  assert [x['network'] for x in both['space']] == [
    'classifier',
    'dinov2-vit-w8-56',
  ]
  assert both['space'][1]['sha256'] == sha256(dino / 'model.safetensors')
  assert both['space'][1]['resize'] == 'dinov2'
  assert 'FD (dinov2-vit-w8-56/cls, dino)' in both['metrics']
  one, other = fid(first), fid(second)
  assert one['space'] == both['space'][0]
  alone = one['metrics'] | other['metrics']
  assert alone.keys() == both['metrics'].keys()
  for name, found in both['metrics'].items():
    np.testing.assert_allclose(
      found['value'], alone[name]['value'], rtol=1e-3, atol=1e-5
    )
  assert len(list(cache.iterdir())) == 2
  # Other weights have another reference and another distance.
  tiny_dino.save(dino, seed=1)
  changed = fid(second)['metrics']
  assert len(list(cache.iterdir())) == 3
  name = 'FD (dinov2-vit-w8-56/cls, dino)'
  assert changed[name]['value'] != other['metrics'][name]['value']


@pytest.mark.parametrize(
  'features, rule, message',
  [
    (('dinov2:A', 'dinov2:A'), None, 'different names'),
    (('dinov2:A', 'clip:B'), 'tf1', '--resize tf1 is for one'),
    (('dinov2:',), None, 'must be of inception'),
    (('inception:',), None, 'must be of inception'),
    ((), None, 'must name a network'),
    (('inception:none.pth',), None, 'no file at none.pth'),
    (('inception', 'dinov2:A'), None, '--weights|--features inception:FILE'),
  ],
)
def test_what_is_wrong_is_said(features, rule, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  tiny_dino.save(tmp_path / 'A')
  with pytest.raises((ValueError, OSError), match=message):
    extractors.load_all(features, rule=rule)
