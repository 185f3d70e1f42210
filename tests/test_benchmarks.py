"""Benchmarks compare what they say they compare."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import (
  best_denoiser,
  minutes,
  plans,
  time_to_quality,
  time_to_quality_torch,
  tutorial,
)
from jaxdiff import config as c
from jaxdiff import models, processes, schedules


def test_time_to_quality_trains_networks_of_one_size():
  pytest.importorskip('torch')
  pytest.importorskip('diffusers')
  spec = c.Spec('image', (28, 28, 1))
  model = models.make(c.load_file(time_to_quality.CONFIG), spec)
  params = jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0)))
  peer = time_to_quality_torch.network().parameters()
  assert sum(x.size for x in params) == sum(x.numel() for x in peer)


@pytest.mark.parametrize('eta', [0.0, 1.0])
def test_a_reverse_step_in_pytorch_has_the_levels_of_its_time(eta):
  """For x0 = 0, xt has the variance sigma^2, and xs sigma_s^2."""
  torch = pytest.importorskip('torch')
  level, level_s = (
    time_to_quality_torch.levels(torch.tensor(x)) for x in (0.7, 0.4)
  )
  xt = level[1] * torch.randn(100_000)
  xs = time_to_quality_torch.reverse(xt, 0 * xt, level, level_s, eta)
  assert float(xs.std()) == pytest.approx(float(level_s[1]), rel=0.02)
  if not eta:
    np.testing.assert_allclose(xs / xt, level_s[1] / level[1], rtol=1e-5)
  else:  # the posterior's mean is linear in xt
    posterior = processes.gaussian(schedules.cosine()).posterior
    slope = float(posterior(np.float32(1), np.float32(0), 0.7, 0.4)[0])
    found = float((xs * xt).mean() / (xt * xt).mean())
    assert found == pytest.approx(slope, abs=0.01)


def test_later_steps_are_multiples_of_the_first():
  steps = minutes.number_of_steps((5, 10, 20, 60), 0.21)
  assert steps == [1428, 2 * 1428, 4 * 1428, 12 * 1428]
  with pytest.raises(ValueError, match='give more --minutes'):
    minutes.number_of_steps((1, 2), 6.1)


def test_a_tutorial_keeps_its_code_but_for_the_number_of_steps():
  source = """
```python
num_epochs = 2000
warmup_steps = 1000
```
words
```python
total = num_epochs + warmup_steps
```
```python
losses = []
raise RuntimeError
```
"""
  names = tutorial.run_cells(source, 60)
  assert (names['num_epochs'], names['warmup_steps']) == (60, 30)
  assert names['total'] == 90 and 'losses' not in names
  with pytest.raises(ValueError, match=r'must be digits_diffusion_model\.md'):
    tutorial.cells('```python\nlosses = []\n```\n')


def test_twos_are_images_of_one_digit():
  x0 = tutorial.twos('train').gather(np.arange(177))['x0']
  assert x0.shape == (177, 8, 8, 1)
  assert x0.dtype == np.uint8 and x0.max() == 255


def test_results_of_other_options_are_refused(tmp_path):
  out = tmp_path / 'out'
  minutes.keep_options(out, minutes=(5, 10), data='digits')
  minutes.keep_options(out, minutes=(5, 10), data='digits')
  with pytest.raises(ValueError, match=r'made with --minutes \[5, 10\], got'):
    minutes.keep_options(out, minutes=(5,), data='digits')


@pytest.mark.parametrize('wrong', [(), (0,), (5, 7)])
def test_minutes_are_multiples_of_the_first(wrong):
  with pytest.raises(ValueError, match='--minutes'):
    time_to_quality.Options(out='out', minutes=wrong)


def test_every_recipe_of_a_paper_has_a_plan():
  table = Path('docs/recipes.md').read_text()
  named = set(re.findall(r'^\| \[(\w+)\]\(', table, re.MULTILINE))
  files = {file.stem for file in Path('configs/papers').glob('*.py')}
  assert set(plans.RECIPES) == named and files <= named
  for name in plans.RECIPES:
    assert c.load_file(str(plans.path(name))).workdir == f'runs/{name}'


def test_a_plan_is_a_row_of_the_table():
  text = """a batch of 512, 32 a chip, in bfloat16
  together        2.120 GiB: fits
a step takes at least 27.48 ms, bound by all-reduce: 18,635 examples/s on 16
"""
  assert plans.row('dit_xl2_imagenet256', text) == (
    '| dit_xl2_imagenet256 | v5e:4x4 `--parallel.fsdp 8` `--network.remat` '
    '`--network.remat-policy dots_with_no_batch_dims_saveable` '
    '| 512 | 2.120 | 27.48 | all-reduce | 18,635 |'
  )
  full = 'a batch of 512,\njaxdiff.plan: Ran out of memory in memory space hbm'
  assert plans.row('text8', full).count('does not fit') == 4


def test_best_denoiser_is_that_of_the_images():
  images = np.random.default_rng(0).normal(size=(5, 3))
  # Nearly without noise it is the image, nearly without signal their mean.
  clear, num = best_denoiser.best(images, images * 0.99, 0.99, 0.01)
  np.testing.assert_allclose(clear, images, rtol=1e-6)
  assert num == pytest.approx(1.0)
  noise = np.random.default_rng(1).normal(size=(2, 3))
  vague, num = best_denoiser.best(images, noise, 1e-6, 1.0)
  np.testing.assert_allclose(vague, [images.mean(0)] * 2, atol=1e-4)
  assert num == pytest.approx(5.0)
