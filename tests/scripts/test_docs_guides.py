"""The guides: their Python runs as it stands there, beside a finished run."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.generation.from_flags import draw

GUIDES = Path(__file__).parents[2] / 'docs' / 'guides'


def python_of(name):
  blocks = re.findall(r'```py\n(.*?)```', (GUIDES / name).read_text(), re.S)
  assert blocks and all(len(block.splitlines()) < 20 for block in blocks)
  return blocks


@pytest.mark.slow
def test_sampling_from_scripts(finished, tmp_path, monkeypatch):
  (tmp_path / 'runs').mkdir()
  (tmp_path / 'runs' / 'digits').symlink_to(finished[0])
  monkeypatch.chdir(tmp_path)
  first, second = python_of('scripts.md')
  names = {}
  exec(first, names)
  images = names['images']
  assert images.shape == (16, 8, 8, 1) and images.dtype == np.uint8
  exec(second, names)
  assert names['x0'].shape == (4, 8, 8, 1)
  # By the same seed, sampler and steps: the same samples, in [-1, 1].
  levels = np.round((np.asarray(names['x0']) + 1) * 127.5)
  np.testing.assert_allclose(levels, images[:4], atol=1)
  few = draw('runs/digits', num=3, sampler='ddim', steps=20, seed=0)
  np.testing.assert_array_equal(few, images[:3])


def test_a_process_from_outside(tmp_path, monkeypatch):
  (block,) = python_of('extend.md')
  (tmp_path / 'mylab').mkdir()
  (tmp_path / 'mylab' / 'noise.py').write_text(block)
  monkeypatch.syspath_prepend(tmp_path)
  config = c.Config(
    diffusion=c.Categorical(process='mylab.noise:mostly_zero(zero=0.8)'),
    network=c.Transformer(width=8, depth=1, num_heads=2),
    sampling=c.Sampling(sampler='ancestral'),
  )
  spec = c.Spec('text', (6,), categories=4, marginals=(0.25,) * 4)
  process = models.make(config, spec).process
  x1 = process.prior(jax.random.key(0), (10_000,))
  assert np.mean(x1 == 0) == pytest.approx(0.8, abs=0.02)
