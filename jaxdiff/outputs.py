"""Where samples go: a folder of files, or one file of them all.

Every sample is first a file of its own, `000042.png`, written whole or not at
all. A job that was interrupted finds those and draws only the rest. For one
file of all they wait in `OUT.parts` until all are there.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff import files
from jaxdiff.modalities import Medium


def check_output(out: str | os.PathLike[str], medium: Medium) -> None:
  """Raises ValueError unless `out` has an ending of the medium, or none."""
  if Path(out).suffix not in ('', *medium.endings):
    raise ValueError(
      f'--out must end in {" or ".join(medium.endings)}, or be a folder, got '
      f'{out}'
    )


def draw_to(
  out: str | os.PathLike[str],
  num: int,
  draw: Callable[[np.ndarray], Sequence[Any]],
  metadata: Mapping[str, Any],
  medium: Medium,
  *,
  batch_size: int,
  names: Sequence[str] = (),
  progress: Callable[[int], Any] = lambda done: None,
) -> Path:
  """Draws samples 0 .. num - 1 and leaves them at `out`.

  Args:
    out: a folder, or a file with one of the medium's endings.
    num: how many.
    draw: index [b] -> b samples; always called with batch_size indices, so
      that it is compiled once.
    metadata: what the samples depend on; kept as JSON beside them. Samples of
      an earlier job are taken only if theirs is the same.
    medium: of the samples.
    batch_size: samples at a time.
    names: M conditions, sample i having that of i modulo M.
    progress: told how many more are there, after each batch.

  Returns:
    The path of the folder or file.

  Raises:
    ValueError: `out` holds samples of another job, or has an unknown ending.
  """
  out = Path(out)
  check_output(out, medium)
  whole = out.suffix != ''
  folder = out.with_name(out.name + '.parts') if whole else out
  folder.mkdir(parents=True, exist_ok=True)
  _claim(folder / 'metadata.json', metadata, medium)

  file = lambda i: folder / f'{i:06d}{medium.suffix}'
  missing = np.array([i for i in range(num) if not file(i).exists()], int)
  progress(num - len(missing))
  for start in range(0, len(missing), batch_size):
    index = missing[start : start + batch_size]
    samples = draw(np.resize(index, batch_size))[: len(index)]
    for i, sample in zip(index, samples, strict=True):
      medium.save(sample, file(i))
    progress(len(index))
  if not whole:
    return out

  medium.gather([medium.read(file(i)) for i in range(num)], names, out)
  shutil.copy(folder / 'metadata.json', out.with_name(out.name + '.json'))
  shutil.rmtree(folder)
  return out


def _claim(path: Path, metadata: Mapping[str, Any], medium: Medium) -> None:
  """Writes what the samples of this folder depend on, or compares it."""
  if path.exists():
    before = json.loads(path.read_text())
    # Another version of a library may round differently; it may go on.
    names = sorted((before.keys() | metadata.keys()) - {'versions'})
    differ = [
      f'{name}: {before.get(name)!r} there, {metadata.get(name)!r} here'
      for name in names
      if before.get(name) != metadata.get(name)
    ]
    if differ:
      raise ValueError(
        f'{path.parent} holds {medium.unit}s of another job '
        f'({"; ".join(differ)}); use another --out or delete it'
      )
    return
  files.write_text(json.dumps(metadata, indent=2) + '\n', path)
