"""Hooks of mkdocs: the README as home, a reference page for every room."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r'(\]\()([^)#\s]+)')
# Rooms with a page of their own, in the order of the README's layout.
ROOMS = (
  *('schedules', 'predictions', 'processes', 'losses', 'samplers'),
  *('guidance', 'likelihood', 'editing', 'training', 'networks', 'config'),
  *('models', 'data', 'runs', 'generation', 'evaluation', 'pretrained'),
)


def on_files(files, config):
  """Adds the home page and the reference."""
  home = (ROOT / 'README.md').read_text()
  generated = {'index.md': LINK.sub(_from_root, home)}
  for room in ROOMS:
    lines = [f'# jaxdiff.{room}\n']
    lines += [f'::: {name}\n' for name in _modules(room)]
    generated[f'reference/{room}.md'] = '\n'.join(lines)
  for path, content in generated.items():
    files.append(File.generated(config, path, content=content))
  return files


def on_page_markdown(markdown, page, config, files):
  """Leads links to files outside docs/ to where the site has them."""
  folder = posixpath.dirname(page.file.src_uri)

  def led(link):
    target = posixpath.normpath(posixpath.join('docs', folder, link[2]))
    if target.startswith('docs/') or link[2].startswith(('http', '#')):
      return link[0]
    room = target.removeprefix('jaxdiff/').split('/')[0].removesuffix('.py')
    name = 'index.md' if target == 'README.md' else f'reference/{room}.md'
    if target != 'README.md' and room not in ROOMS:
      name = 'index.md'  # benchmarks and the like: the home page says where
    return link[1] + posixpath.relpath(name, folder or '.')

  return LINK.sub(led, markdown)


def _from_root(link):
  """Rewrites a link of the README, which is one folder above docs/."""
  return link[1] + link[2].removeprefix('docs/')


def _modules(room):
  """Lists the modules of a room that have something public."""
  path = ROOT / 'jaxdiff' / room
  found = (
    sorted(path.glob('*.py')) if path.is_dir() else [path.with_suffix('.py')]
  )
  names = [file.stem for file in found if file.stem[0] != '_']
  prefix = f'jaxdiff.{room}' if path.is_dir() else 'jaxdiff'
  return [f'{prefix}.{name}' for name in names]
