"""Recipes of papers: each network has its size, each recipe takes a step."""

import ast
import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.runs.examples import with_null

ROOT = Path(__file__).parents[2]
PAPERS = ROOT / 'configs' / 'papers'


def image(size: int, channels: int = 3) -> c.Spec:
  return c.Spec('image', (size, size, channels), num_classes=1000)


class Size(NamedTuple):
  """The data of a recipe, its parameters, and the size that was published.

  A published int is exact, a float is rounded. `more` is what ours has and the
  published count has not.
  """

  spec: c.Spec
  params: int
  published: int | float | None = None
  more: int = 0


CIFAR = image(32)
TEXT8 = tiny.text_spec(256, 'abcdefghijklmnopqrstuvwxyz ')
BERT = tiny.text_spec(128, 'ab', sizes=True)._replace(
  categories=30_522, marginals=(1 / 30_522,) * 30_522
)
QM9 = tiny.graph_spec(9, kinds=4, sizes=True)._replace(
  categories={'nodes': 4, 'edges': 4},
  marginals={'nodes': (0.25,) * 4, 'edges': (0.25,) * 4},
)
# Latents stand for themselves: only their shape matters to a network.
SIZES = {
  'ddpm_cifar10': Size(CIFAR, 35_746_307, 35.7e6),
  'ddpm_lsun256': Size(image(256), 113_673_219, 114e6),
  'ddpm_celebahq256': Size(image(256), 113_673_219, 114e6),
  'iddpm_cifar10_hybrid': Size(CIFAR, 52_546_438),
  'iddpm_cifar10_simple': Size(CIFAR, 52_542_979),
  'iddpm_cifar10_vlb': Size(CIFAR, 52_546_438),
  'iddpm_imagenet64': Size(image(64), 121_063_942),
  'score_sde_vp_cifar10': Size(CIFAR, 106_632_579),
  'score_sde_subvp_cifar10': Size(CIFAR, 106_632_579),
  'score_sde_ve_cifar10': Size(CIFAR, 107_587_075),
  'vdm_cifar10': Size(CIFAR, 30_586_243),
  # Their nine numbers of augmentation.
  'edm_cifar10': Size(CIFAR, 55_733_891, 55_733_891),
  # A null label.
  'adm_imagenet64': Size(image(64), 295_905_222, 295_904_454, 768),
  'adm_imagenet128': Size(image(128), 421_530_630, 422e6, 1024),
  'adm_imagenet256': Size(image(256), 553_839_110, 554e6, 1024),
  'cfg_imagenet64': Size(image(64), 295_900_035),
  # The fixed positions that the released code counts.
  'dit_xl2_imagenet256': Size(
    image(32, 4), 674_834_720, 675_129_632, -256 * 1152
  ),
  'dit_b4_imagenet256': Size(image(32, 4), 130_426_496),
  'mean_flow_b4_imagenet256': Size(image(32, 4), 131_165_248),
  'jit_b16_imagenet256': Size(image(256), 131_123_712, 131e6),
  'edm2_xs_imagenet512': Size(image(64, 4), 124_713_253, 125e6),
  'edm2_s_imagenet512': Size(image(64, 4), 280_212_837, 280e6),
  'ldm4_celebahq256': Size(image(64), 274_056_163, 274e6),
  'ldm8_lsun256': Size(image(32, 4), 294_966_916, 294e6),
  'sd_text_to_image': Size(image(64, 4), 859_520_964, 859_520_964),
  'd3pm_text8_absorbing': Size(TEXT8, 92_413_724),
  'd3pm_text8_uniform': Size(TEXT8, 92_412_187),
  'mdlm_text8': Size(TEXT8, 85_071_388),
  'text8': Size(TEXT8, 92_413_724),
  'lm1b': Size(BERT, 131_942_203),
  'digress_community': Size(tiny.graph_spec(20, sizes=True), 4_835_714),
  'digress_planar': Size(tiny.graph_spec(64), 6_040_194),
  'digress_sbm': Size(tiny.graph_spec(187, sizes=True), 4_835_714),
  'digress_qm9': Size(QM9, 5_440_776),
}
# Networks of which the table has an equal.
SLOW = (
  'ddpm_celebahq256',
  'iddpm_cifar10_simple',
  'iddpm_cifar10_vlb',
  'score_sde_subvp_cifar10',
  'score_sde_ve_cifar10',
  'cfg_imagenet64',
  'd3pm_text8_uniform',
  'digress_community',
  # Other sizes of a network that is there.
  'adm_imagenet128',
  'edm2_xs_imagenet512',
  'iddpm_imagenet64',
  'ldm8_lsun256',
)


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
  monkeypatch.chdir(ROOT)


def path_of(name: str) -> Path:
  inside = PAPERS / f'{name}.py'
  return inside if inside.is_file() else ROOT / 'configs' / f'{name}.py'


def test_every_recipe_is_in_the_table():
  assert {path.stem for path in PAPERS.glob('*.py')} <= set(SIZES)


def test_every_recipe_is_in_the_docs():
  rows = (ROOT / 'docs' / 'recipes.md').read_text()
  for path in PAPERS.glob('*.py'):
    row = next(x for x in rows.splitlines() if f'/{path.name})' in x)
    assert f'{SIZES[path.stem].params:,}' in row, path.stem


@pytest.mark.parametrize('path', PAPERS.glob('*.py'), ids=lambda p: p.stem)
def test_every_recipe_says_how_it_is_run_and_what_to_expect(path):
  text = ast.get_docstring(ast.parse(path.read_text()))
  assert f'python train.py --config configs/papers/{path.name}\n' in text
  expected = r'Expected: |no\s+FID|no\s+figure|not\s+seen'
  for words in (r'Hardware: .*not\s+run\s+here', expected):
    assert re.search(words, text, re.DOTALL), words
  # Or those of another recipe.
  others = [p.name for p in PAPERS.glob('*.py') if p != path]
  assert re.search('|'.join([r'Settings:\s', *others]), text)


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in SIZES
  ],
)
def test_networks_have_the_published_size(name):
  config, size = c.load_file(str(path_of(name))), SIZES[name]
  spec = size.spec
  if config.condition.text:
    spec = spec._replace(text_dims=(768, 768))  # of CLIP ViT-L/14
  config = dataclasses.replace(config, latent=c.Latent())
  params = tiny.abstract_params(config, spec)
  assert sum(x.size for x in jax.tree.leaves(params)) == size.params
  assert f'{size.params:,}' in path_of(name).read_text()
  if size.published is not None:
    rel = 0 if isinstance(size.published, int) else 5e-3
    assert size.params - size.more == pytest.approx(size.published, rel=rel)


@pytest.mark.slow
@pytest.mark.parametrize(
  'path', sorted(PAPERS.glob('*.py')), ids=lambda p: p.stem
)
def test_every_recipe_takes_a_step(path, tmp_path):
  config = c.load_file(str(path))
  spec = SIZES[path.stem].spec
  if spec.modality == 'image':
    spec = image(32)
  config, spec = tiny.with_latents(config, spec, tmp_path)
  small = tiny.shrunken(config, spec)
  spec = tiny.with_text(small, spec)
  batch = tiny.batch(small, spec, 8)
  null = tiny.null(small, batch)
  task = tiny.make_task(small, spec, null)
  state = jit(task.init)(jax.random.key(0))
  state, metrics = jit(task.step)(state, batch)
  assert np.isfinite(metrics['loss']) and state.step == 1
  full = models.make(small, spec, null).grid(config.sampling)
  assert len(full) == config.sampling.steps + 1
  # Some grids are of many steps alone.
  small = tiny.changed(small, sampling={'times': 'uniform'})
  cond = tiny.conditions(small, 2)
  options = traced_options(small, **(with_null(cond, null) if cond else {}))
  draw = make_sampler(models.make(small, spec, null), small.sampling)
  samples = jax.eval_shape(draw, state.params, options, np.arange(2))
  assert jax.tree.map(lambda x: x.shape[1:], samples.x) == spec.shape
