"""Samples on disk: a folder of files, or one file of them all.

Every sample is first a file of its own, `000042.png`, written whole or not at
all. An interrupted job finds those and draws only the rest. For one file of all
they wait in `OUT.parts` until all are there. `metadata.json` beside them says
what they depend on: samples of another job are never taken for those of this
one.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff import files
from jaxdiff.modalities import Modality

_METADATA = 'metadata.json'


def check_output(out: str | os.PathLike[str], modality: Modality) -> None:
  """Raises ValueError unless samples can be written to `out`."""
  out = Path(out)
  if out.suffix not in ('', *modality.endings):
    raise ValueError(
      f'--out must end in {" or ".join(modality.endings)}, or be a folder, got '
      f'{out}'
    )
  if out.suffix and out.is_dir():
    raise ValueError(f'--out {out} is a folder: give a file, or another name')
  if not out.suffix and out.exists() and not out.is_dir():
    raise ValueError(f'--out {out} is a file: give a folder')


def write(
  out: str | os.PathLike[str],
  num: int,
  draw: Callable[[np.ndarray], Sequence[Any]],
  metadata: Mapping[str, Any],
  modality: Modality,
  *,
  batch_size: int,
  names: Sequence[str] = (),
  progress: Callable[[int], Any] = lambda done: None,
) -> Path:
  """Draws samples 0 .. num - 1 and writes them to `out`.

  Args:
    out: a folder, or a file with one of the modality's endings.
    num: of samples.
    draw: index [b] -> b samples; always called with batch_size indices, so
      that it is compiled once.
    metadata: what the samples depend on, written as JSON beside them.
    modality: of the samples.
    batch_size: samples at a time.
    names: M conditions, sample i having that of i modulo M.
    progress: called with the number of further samples, after each batch.

  Returns:
    The path of the folder or file.

  Raises:
    ValueError: `out` holds samples of another job, or more than `num`, or
      files that are not from a job.
  """
  out = Path(out)
  check_output(out, modality)
  whole = out.suffix != ''
  folder = out.with_name(out.name + '.parts') if whole else out
  found = _check_folder(folder, metadata, modality, num)
  folder.mkdir(parents=True, exist_ok=True)
  files.write_json(folder / _METADATA, metadata)

  file = lambda i: folder / f'{i:06d}{modality.suffix}'
  missing = np.array([i for i in range(num) if i not in found], int)
  progress(num - len(missing))
  for start in range(0, len(missing), batch_size):
    index = missing[start : start + batch_size]
    samples = draw(np.resize(index, batch_size))[: len(index)]
    for i, sample in zip(index, samples, strict=True):
      modality.save(sample, file(i))
    progress(len(index))
  if not whole:
    return out
  modality.gather([modality.read(file(i)) for i in range(num)], names, out)
  files.write_json(out.with_name(out.name + '.json'), metadata)
  for i in range(num):
    file(i).unlink()
  (folder / _METADATA).unlink()
  with contextlib.suppress(OSError):
    folder.rmdir()  # files of somebody else stay
  return out


def is_written(
  out: str | os.PathLike[str], metadata: Mapping[str, Any]
) -> bool:
  """Tells whether the file `out` holds the samples of this very job."""
  out = Path(out)
  beside = out.with_name(out.name + '.json')
  if not out.is_file() or not beside.is_file():
    return False
  return not _differences(files.read_json(beside, 'metadata'), metadata)


def _check_folder(
  folder: Path, metadata: Mapping[str, Any], modality: Modality, num: int
) -> set[int]:
  """Returns the numbers of the samples there, all of this very job."""
  if not folder.is_dir():
    return set()
  there = [p for p in folder.glob(f'*{modality.suffix}') if p.name[0] != '.']
  numbers = {int(p.stem) for p in there if p.stem.isdecimal()}
  path = folder / _METADATA
  if not path.exists():
    if there:
      raise ValueError(
        f'{folder} holds {modality.unit}s and no {_METADATA}, so nobody knows '
        'where they are from: use another --out'
      )
    return set()
  differ = _differences(files.read_json(path, 'metadata'), metadata)
  # Nothing is lost where nothing was drawn.
  if differ and numbers:
    raise ValueError(
      f'{folder} holds {modality.unit}s of another job ({"; ".join(differ)}); '
      'use another --out or delete it'
    )
  if differ:
    return set()
  if numbers and max(numbers) >= num:
    raise ValueError(
      f'{folder} holds {len(numbers)} {modality.unit}s, and {num} were asked '
      f'for: give --num {max(numbers) + 1} or more, or another --out'
    )
  # A file emptied by a power failure is drawn again.
  return {int(p.stem) for p in there if p.stem.isdecimal() and p.stat().st_size}


def _differences(
  before: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[str]:
  """Lists the differing fields of two jobs."""
  # Another version of a library may round differently; it may go on.
  names = sorted((before.keys() | metadata.keys()) - {'versions'})
  return [
    f'{name}: {before.get(name)!r} there, {metadata.get(name)!r} here'
    for name in names
    if before.get(name) != metadata.get(name)
  ]
