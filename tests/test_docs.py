"""What the pages say exists, does."""

import ast
import re
from pathlib import Path

import pytest

from jaxdiff import guidance, processes, samplers, schedules

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
LINK = re.compile(r'\[([^\]]*)\]\(([^)\s]+)\)')


def prose(page):
  """The page without its blocks of code and mathematics."""
  return re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)


def files(page):
  """(text, path) of the page's links to files, pictures among them."""
  for text, target in LINK.findall(prose(page)):
    if not target.startswith(('http://', 'https://', '#')):
      yield text, page.parent / target.split('#')[0]


def definitions(path):
  """The functions and classes of a module, and its and their constants.

  What it imports is not among them: a link goes to where a name is defined.
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
  assert not [c for c in calls if not any(hasattr(m, c) for m in homes)]
  wrappers = re.findall(r'guidance\.(\w+)', ' '.join(rows))
  assert wrappers and not [w for w in wrappers if not hasattr(guidance, w)]
