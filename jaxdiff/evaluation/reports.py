"""Results of commands: their JSON, and what is printed."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from jaxdiff import parallel
from jaxdiff.config.ranges import In
from jaxdiff.evaluation import named, protocol
from jaxdiff.evaluation.protocol import Protocol
from jaxdiff.evaluation.subjects import Floor, Subject

Num = Annotated[int, In('[2, 2147483647]')]


def finish(
  metrics: Mapping[str, Mapping[str, Any]],
  described: Protocol,
  out: Path,
  *,
  floor: Floor | None = None,
  directory: Path | None = None,
) -> dict[str, Any]:
  """Writes the stamped result, prints it, and removes what it was made of.

  Args:
    metrics: {name: {'value': ...}}.
    described: how they came about.
    out: of the JSON.
    floor: the same metrics of real images.
    directory: of blocks, needed no longer.

  Returns:
    What was written.
  """
  result = protocol.stamp(
    metrics, described, floor=floor.metrics if floor else None
  )
  if described.reference is None:
    result['warnings'] = []  # They are about distances.
  if floor is not None and floor.num != described.num_samples:
    result['warnings'].append(
      f'the floor is of {floor.num} images and the samples are '
      f'{described.num_samples}: of fewer images a Frechet distance is larger'
    )
  if parallel.is_primary():
    protocol.write(result, out)
    print(table(result))
    for warning in result['warnings']:
      print(f'warning: {warning}', file=sys.stderr)
    print(out)
  # Not before the result is there.
  parallel.any_process(False)
  if directory is not None:
    discard(directory)
  return result


def beside(samples: str, kind: str, subject: Subject, command: Any) -> Path:
  """Returns the default file of a result: another for every other setting.

  Args:
    samples: a WORKDIR, a folder, or an .npz.
    kind: of the result, such as 'inception'.
    subject: the samples.
    command: the flags; the file is named after those that are set.
  """
  path = Path(samples)
  settings = _given(command)
  for name in ('samples', 'out', 'num'):
    settings.pop(name, None)
  tail = f'_{subject.images.num}'
  if settings:
    text = json.dumps(settings, sort_keys=True, default=str)
    tail += f'_{hashlib.sha256(text.encode()).hexdigest()[:6]}'
  if named.is_run(path):
    return path / 'evaluation' / f'{kind}_{subject.title}{tail}.json'
  return path.with_name(f'{path.name}.{kind}{tail}.json')


def _given(command: Any) -> dict[str, Any]:
  """Lists the flags that differ from their defaults; devices do not matter."""
  found: dict[str, Any] = {}
  for field in dataclasses.fields(command):
    value = getattr(command, field.name)
    if field.name == 'running':
      continue
    if dataclasses.is_dataclass(value):
      found |= _given(value)
    elif value != field.default:
      found[field.name] = value
  return found


def table(result: Mapping[str, Any]) -> str:
  """The metrics in lines of text, with their errors and the floor."""
  metrics, floor = result['metrics'], result['floor'] or {}
  width = max(map(len, metrics))
  against = result['reference'] or 'their prompts'
  rows = [f'{result["num_samples"]} of {result["samples"]} against {against}']
  for name, values in metrics.items():
    row = f'  {name:{width}}  {number(values["value"])}'
    for error in ('standard_error', 'std'):
      if values.get(error) is not None:
        row += f' +- {number(values[error])}'
        break
    if name in floor:
      row += f'   (floor {number(floor[name]["value"])})'
    rows.append(row)
  return '\n'.join(rows)


def number(value: float) -> str:
  """To four figures, without an exponent where it is not far from 1."""
  return f'{value:.4g}'


def discard(directory: Path) -> None:
  """Removes blocks of features, and their folder if it is empty then."""
  shutil.rmtree(directory, ignore_errors=True)
  # Another job may have blocks there.
  with contextlib.suppress(OSError):
    directory.parent.rmdir()
