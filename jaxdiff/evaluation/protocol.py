"""What a number must be accompanied by to mean something.

Two programs of one project have been seen to differ by several FID, and a
paper's number rarely says which resizing, which half of the data and how many
samples it is of. Here a result is the metrics and all of that in one JSON.
"""

import datetime
import json
import math
import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from jaxdiff import files
from jaxdiff.evaluation.spaces import FeatureSpace

NUM_SAMPLES = 50_000
_LIBRARIES = ('jaxdiff', 'jax', 'jaxlib', 'flax', 'numpy', 'pillow')


class Protocol(NamedTuple):
  """How a number came about. None: it does not apply, or is not known.

  Attributes:
    space: of the features.
    num_samples: exactly how many were measured.
    reference: what they were measured against, such as 'tfds:cifar10 train'.
    reference_sha256: of its pixels, or of the file of published statistics.
    num_references: how many examples it has.
    samples: where they are from.
    samples_sha256: of their pixels.
    labels: the policy they were drawn by: 'none', 'uniform', 'as in the
      training set', ...
    sampler: its name.
    steps: of the sampler.
    scale: of guidance.
    seed: of the samples.
    checkpoint: step, and whether it is the average.
    options: anything else that the samples depend on.
  """

  space: FeatureSpace
  num_samples: int
  reference: str | None = None
  reference_sha256: str | None = None
  num_references: int | None = None
  samples: str | None = None
  samples_sha256: str | None = None
  labels: str = 'none'
  sampler: str | None = None
  steps: int | None = None
  scale: float | None = None
  seed: int | None = None
  checkpoint: str | int | None = None
  options: Mapping[str, Any] | None = None


def stamp(
  metrics: Mapping[str, Mapping[str, Any]],
  protocol: Protocol,
  *,
  floor: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
  """Metrics and protocol as one object for JSON.

  Args:
    metrics: {name: {'value': ..., ...}} from `metrics.measure`.
    protocol: how they came about.
    floor: the same metrics of real images not in the reference, usually test
      against train: no model is asked to be below.

  Returns:
    Also the commit, versions, the date, and `warnings`, a list of sentences
    that the caller prints.

  Raises:
    ValueError: a value is not finite.
  """
  for which in (metrics, floor or {}):
    for name, values in which.items():
      if not math.isfinite(values['value']):
        raise ValueError(f'{name} is {values["value"]}')
  result = {
    'metrics': metrics,
    'floor': floor,
    **protocol._asdict(),
    'space': protocol.space._asdict(),
    'warnings': _warnings(protocol),
  }
  # NaN, the error of one example, is not JSON.
  return _jsonable(stamped(result))


def stamped(result: Mapping[str, Any]) -> dict[str, Any]:
  """Adds the commit, the versions and the date to any result."""
  now = datetime.datetime.now(datetime.UTC)
  return {
    **result,
    'commit': commit(),
    'versions': versions(),
    'date': now.isoformat(timespec='seconds'),
  }


def write(result: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
  """Writes a result as JSON, whole or not at all."""
  text = json.dumps(result, indent=2, allow_nan=False) + '\n'
  files.write_text(text, Path(path))


def commit() -> str:
  """Of the package, if it runs from a git checkout, else its version.

  '<hash>', '<hash>-dirty' with changes that are not committed, or 'version
  <number>'.
  """
  package = Path(__file__).resolve().parents[1]

  def git(*args: str) -> str:
    return subprocess.run(
      ['git', '-C', str(package), *args],
      capture_output=True,
      check=True,
      text=True,
      timeout=20,
    ).stdout.strip()

  try:
    # Installed below a checkout of something else it is not that commit.
    git('ls-files', '--error-unmatch', '__init__.py')
    dirty = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', 'HEAD') + ('-dirty' if dirty else '')
  except (OSError, subprocess.SubprocessError):
    return f'version {_version("jaxdiff")}'


def versions() -> dict[str, str]:
  """Of the libraries a number may depend on."""
  return {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str:
  try:
    return version(name)
  except PackageNotFoundError:
    return 'not installed'


def _warnings(protocol: Protocol) -> list[str]:
  found = []
  if protocol.num_samples < NUM_SAMPLES:
    found.append(
      f'{protocol.num_samples} samples: the Frechet distance falls with their '
      f'number, so this does not compare with results of {NUM_SAMPLES}'
    )
  if protocol.reference is not None and protocol.num_references is None:
    found.append(
      'the reference does not say how many examples it is of, nor by which '
      f'rule they were resized; here it was {protocol.space.resize!r}'
    )
  return found


def _jsonable(x: Any) -> Any:
  if isinstance(x, Mapping):
    return {name: _jsonable(value) for name, value in x.items()}
  if isinstance(x, list | tuple):
    return [_jsonable(value) for value in x]
  if isinstance(x, float) and not math.isfinite(x):
    return None
  return x
