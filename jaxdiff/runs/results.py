"""Result cards: numbers and everything they depend on, stamped, as JSON.

Two programs of one project differ by several FID, and a paper's number rarely
states the resizing, the split and the number of samples. So each evaluation
writes the run, the weights, the sampler, the data, the versions and the commit
beside its numbers.
"""

import datetime
import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jaxdiff import files, parallel
from jaxdiff.config import describe
from jaxdiff.data import Dataset
from jaxdiff.runs.config_json import read_config

Result = dict[str, Any]
_LIBRARIES = ('jaxdiff', 'jax', 'jaxlib', 'flax', 'numpy', 'pillow')


def save(
  path: Path, result: Mapping[str, Any], text: str = '', quiet: bool = False
) -> Result:
  """Stamps a result, writes it and prints it; all processes must call.

  Args:
    path: Of the JSON file.
    result: Numbers, and what they depend on. Its 'warnings' are printed.
    text: Printed for people.
    quiet: Print nothing.

  Returns:
    The result with 'warnings', 'commit', 'versions' and 'date'. A number that
    is not finite becomes None.
  """
  result = {
    **result,
    'warnings': result.get('warnings', []),
    'commit': commit(),
    'versions': {name: _version(name) for name in _LIBRARIES},
    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
  }
  result = _jsonable(result)
  if parallel.is_primary():
    files.write_json(path, result)
    if not quiet:
      print(text)
      for warning in result['warnings']:
        print(f'warning: {warning}', file=sys.stderr)
      print(path)
  parallel.any_process(False)  # the others wait until it is written
  return result


def check_target(path: Path) -> None:
  """Checks that a result can be written, and that it replaces only another.

  Raises:
    OSError: as `files.check_target`, or the file there is no result.
  """
  files.check_target(path)
  if not path.exists():
    return
  try:
    found = json.loads(files.read_text(path))
  except (ValueError, RecursionError):
    found = None
  if not isinstance(found, dict) or not {'metrics', 'commit'} & found.keys():
    raise FileExistsError(f'{path} is there and no result: give another --out')


def config_sha256(workdir: str | Path) -> str:
  """Computes a hash of a run's configuration, wherever its workdir is."""
  described = describe(*read_config(workdir))
  described.pop('workdir', None)
  text = json.dumps(described, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def of_data(*datasets: Dataset) -> list[Result]:
  """Returns name, split, number, hash and cut texts of data sets."""
  return [
    {
      'name': d.name,
      'split': d.split,
      'num': len(d),
      'sha256': d.digest(),
      'cut': d.cut and d.cut._asdict(),
    }
    for d in datasets
  ]


def commit() -> str:
  """Returns the commit of the package, with '-dirty' for changes.

  Changes of docs/ do not count: a result that is written there is one. Outside
  a git checkout, 'version <number>'.
  """
  package = Path(__file__).resolve().parents[1]

  def git(*args: str) -> str:
    command = ['git', '-C', str(package), *args]
    run = subprocess.run(
      command, capture_output=True, check=True, text=True, timeout=20
    )
    return run.stdout.strip()

  try:
    # Installed below another checkout, the package is not of that commit.
    git('ls-files', '--error-unmatch', '__init__.py')
    code = ':(top)', ':(top,exclude)docs'
    dirty = git('status', '--porcelain', '--untracked-files=no', '--', *code)
    return git('rev-parse', 'HEAD') + '-dirty' * bool(dirty)
  except (OSError, subprocess.SubprocessError):
    return f'version {_version("jaxdiff")}'


def _version(name: str) -> str:
  try:
    return version(name)
  except PackageNotFoundError:
    return 'not installed'


def _jsonable(x: Any) -> Any:
  if isinstance(x, Mapping):
    return {name: _jsonable(value) for name, value in x.items()}
  if isinstance(x, list | tuple):
    return [_jsonable(value) for value in x]
  if isinstance(x, float) and not math.isfinite(x):
    return None
  return x
