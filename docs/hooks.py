"""Hooks of mkdocs: the README as home, a page for every module and source."""

import ast
import logging
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r'(\]\()([^)#\s]+)')
SOURCES = ('configs', 'benchmarks')  # folders that are shown as they are
log = logging.getLogger('mkdocs.hooks')  # strict builds fail by a warning


def on_files(files, config):
  """Adds the home page, the reference and the sources."""
  home = (ROOT / 'README.md').read_text()
  generated = {'index.md': LINK.sub(_from_root, home)}
  for room in _rooms():
    lines = [f'# jaxdiff.{room}\n']
    lines += [f'::: {name}\n' for name in _modules(room)]
    generated[f'reference/{room}.md'] = '\n'.join(lines)
  for folder in SOURCES:
    generated |= _sources(ROOT / folder)
  for path, content in generated.items():
    files.append(File.generated(config, path, content=content))
  return files


def on_page_markdown(markdown, page, config, files):
  """Leads links to files outside docs/ to where the site has them."""
  source = page.file.src_uri
  if source.startswith(('reference/', 'source/')):
    return markdown
  folder = posixpath.dirname(source)

  def led(link):
    target = posixpath.normpath(posixpath.join('docs', folder, link[2]))
    if target.startswith('docs/') or link[2].startswith(('http', '#')):
      return link[0]
    name = _page(target)
    if files.get_file_from_path(name) is None:
      log.warning('%s links to %s, which has no page', source, target)
    return link[1] + posixpath.relpath(name, folder or '.')

  return LINK.sub(led, markdown)


def _page(target):
  """Returns the page of a file or folder of the repository."""
  if target == 'README.md':
    return 'index.md'
  if target.startswith('jaxdiff/'):
    room = target.split('/')[1].removesuffix('.py')
    return f'reference/{room}.md'
  if (ROOT / target).is_dir():
    target += '/index'
  return f'source/{target.removesuffix(".py")}.md'


def _from_root(link):
  """Rewrites a link of the README, which is one folder above docs/."""
  if link[2].startswith(('http', 'docs/')):
    return link[1] + link[2].removeprefix('docs/')
  return f'{link[1]}../{link[2]}'


def _rooms():
  """Lists the packages and single modules of jaxdiff."""
  found = sorted((ROOT / 'jaxdiff').iterdir())
  modules = [path.stem for path in found if path.suffix == '.py']
  packages = [path.name for path in found if (path / '__init__.py').exists()]
  return [name for name in packages + modules if name[0] != '_']


def _modules(room):
  """Lists the modules of a room that have something public."""
  path = ROOT / 'jaxdiff' / room
  found = (
    sorted(path.glob('*.py')) if path.is_dir() else [path.with_suffix('.py')]
  )
  names = [file.stem for file in found if file.stem[0] != '_']
  prefix = f'jaxdiff.{room}' if path.is_dir() else 'jaxdiff'
  return [f'{prefix}.{name}' for name in names]


def _sources(folder):
  """Makes a page of each module of a folder, and one that lists them."""
  pages, lines = {}, [f'# {folder.relative_to(ROOT)}\n']
  for path in sorted(folder.iterdir()):
    name = path.relative_to(ROOT)
    if path.is_dir() and list(path.glob('*.py')):
      pages |= _sources(path)
      lines.append(f'- [{path.name}/]({path.name}/index.md)')
    elif path.suffix == '.py' and path.stem[0] != '_':
      text = path.read_text()
      pages[f'source/{name.with_suffix(".md")}'] = (
        f'# {name}\n\n````python\n{text}````\n'
      )
      first = (ast.get_docstring(ast.parse(text)) or '').split('\n')[0]
      lines.append(f'- [{path.stem}]({path.stem}.md): {first}')
  return pages | {
    f'source/{folder.relative_to(ROOT)}/index.md': '\n'.join(lines) + '\n'
  }
