"""Documentation: links, linked names, commands and code examples."""

import ast
import doctest
import importlib
import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxdiff import config as configs
from jaxdiff import (
  data,
  guidance,
  models,
  processes,
  results,
  samplers,
  schedules,
)

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
LINK = re.compile(r'\[([^\]]*)\]\(([^)\s]+)\)')


def prose(page):
  """Removes blocks of code and mathematics from a page."""
  return re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)


def files(page):
  """Yields (text, path) of links to files, pictures among them."""
  for text, target in LINK.findall(prose(page)):
    if not target.startswith(('http://', 'https://', '#')):
      yield text, page.parent / target.split('#')[0]


def definitions(path):
  """Lists the functions and classes of a module, and its and their constants.

  Imported names are not among them: a link goes to where a name is defined.
  """
  tree = ast.parse(path.read_text())
  names, blocks = set(), [tree]
  for node in ast.walk(tree):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      names.add(node.name)
    if isinstance(node, ast.ClassDef):
      blocks.append(node)
  for statement in (statement for block in blocks for statement in block.body):
    targets = getattr(
      statement, 'targets', [getattr(statement, 'target', None)]
    )
    names |= {target.id for target in targets if isinstance(target, ast.Name)}
  return names


MODULES = [
  '.'.join(path.relative_to(ROOT).with_suffix('').parts)
  for path in sorted((ROOT / 'jaxdiff').rglob('*.py'))
  if '>>>' in path.read_text()
]


@pytest.mark.parametrize('name', MODULES)
def test_examples_in_docstrings_run(name):
  result = doctest.testmod(importlib.import_module(name))
  assert result.attempted and not result.failed


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
  missing = [str(path) for _, path in files(page) if not path.exists()]
  assert not missing


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_linked_names_are_defined_there(page):
  known = {}
  for text, path in files(page):
    name = re.fullmatch(r'`(\w+)`', text)
    if name and path.suffix == '.py':
      names = known.setdefault(path, definitions(path))
      assert name[1] in names, f'{path} does not define {name[1]}'


def test_the_mathematics_has_every_sampler_schedule_and_guidance():
  text = (ROOT / 'docs' / 'diffusion.md').read_text()
  linked = set(re.findall(r'\[`(\w+)`\]', text))
  # Types, and what has no equation of its own: tables, grids, keys.
  aside = re.compile(r'[A-Z]\w+|\w+_(betas|times|keys|preserving)|estimate')
  guides = {
    name
    for name, value in vars(guidance).items()
    if getattr(value, '__module__', '') == guidance.__name__ and name[0] != '_'
  }
  for names in (samplers.__all__, schedules.__all__, guides):
    assert not {name for name in names if not aside.fullmatch(name)} - linked


def test_our_side_of_the_correspondence_exists():
  page = ROOT / 'docs' / 'correspondence.md'
  rows = [
    line.split('|')[2]
    for line in page.read_text().splitlines()
    if line.startswith('| ')
  ]
  calls = re.findall(r'(?<![\w.])(\w+)\(', ' '.join(rows))
  assert len(calls) > 30
  homes = (schedules, samplers, processes)
  table = configs.registry
  tables = table.GRIDS, table.GAUSSIAN_LOSSES, table.TIME_SAMPLINGS
  tables = *tables, table.DISCRIMINATORS, table.CATEGORICAL_SCHEDULES
  known = lambda c: (
    any(c in t for t in tables) or any(hasattr(m, c) for m in homes)
  )
  assert not [c for c in calls if not known(c)]
  wrappers = re.findall(r'guidance\.(\w+)', ' '.join(rows))
  assert wrappers and not [w for w in wrappers if not hasattr(guidance, w)]


@pytest.mark.parametrize('page', PAGES[1:], ids=lambda page: page.name)
def test_training_commands_parse(page, monkeypatch):
  monkeypatch.chdir(ROOT)
  for flags in re.findall(
    r'^python train\.py *((?!.*mylab).*)', page.read_text(), re.M
  ):
    configs.parse(shlex.split(flags, comments=True))


def test_the_table_of_results_is_that_of_the_cards():
  cards = sorted((ROOT / 'docs' / 'results').glob('*.json'))
  rendered = results.table([results.read(card, made=True) for card in cards])
  assert rendered in (ROOT / 'docs' / 'results.md').read_text()


def test_the_names_from_outside_train_and_sample(tmp_path, monkeypatch):
  text = (ROOT / 'README.md').read_text()
  library, recipe = re.findall(r'```py\n(.*?)```', text, re.S)
  (tmp_path / 'mylab').mkdir()
  (tmp_path / 'mylab' / 'diffusion.py').write_text(library)
  (tmp_path / 'ring.py').write_text(recipe)
  monkeypatch.syspath_prepend(tmp_path)

  config = configs.load_file(str(tmp_path / 'ring.py'))
  dataset = data.load(config.data.name)
  spec = configs.Spec(dataset.modality, dataset.shape)
  model = models.make(config, spec)
  params = model.init(jax.random.key(0))
  x0 = dataset.gather(np.arange(8))['x0']
  keys = jax.random.split(jax.random.key(1), 8)
  loss, _ = model.loss(params, keys, {'x0': x0})
  assert loss.shape == (8,) and np.isfinite(loss).all()
  step = model.solver(config.sampling, {}, params, {})
  x = samplers.sample(step, model.denoiser(params, {}), keys, x0, [1.0, 0.5, 0])
  assert x.shape == (8, 2) and np.isfinite(x).all()
