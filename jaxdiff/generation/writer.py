"""Samples on disk: a folder of files, or one file of them all.

Every sample is first a file of its own, `000042.png`, written whole or not at
all, so that an interrupted job continues. For one file of all they wait in
`OUT.parts`. `metadata.json` beside them says what they depend on: samples of
two jobs are never mixed.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff import files
from jaxdiff.modalities import Modality

_METADATA = 'metadata.json'
# The same samples come from a run under another path; another version of a
# library may round differently.
UNCOMPARED = ('paths', 'versions', 'workdir')


def check_output(out: str | os.PathLike[str], modality: Modality) -> None:
  """Raises ValueError or OSError unless samples can be written to `out`."""
  out = files.as_path(out)
  if out.suffix not in ('', *modality.endings):
    raise ValueError(
      f'--out must end in {" or ".join(modality.endings)}, or be a folder, got '
      f'{out}'
    )
  if out.suffix:
    files.check_target(out)
    files.check_target(_beside(out))
    known = _beside(out), _parts(out) / _METADATA
    if out.exists() and not any(path.exists() for path in known):
      raise ValueError(
        f'{out} is there and no {_beside(out).name}, so nobody knows where it '
        'is from: use another --out'
      )
  elif out.exists() and not out.is_dir():
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
    out: A folder, or a file with one of the modality's endings. A link is
      followed.
    num: Of samples.
    draw: Index [b] -> b samples; always called with batch_size indices, so
      that it is compiled once. A batch that is not full has copies.
    metadata: What the samples depend on, written as JSON beside them.
    modality: Of the samples.
    batch_size: Samples at a time.
    names: M conditions, sample i having that of i modulo M.
    progress: Called with the number of further samples, after each batch.

  Returns:
    The path of the folder or file.

  Raises:
    ValueError: `out` holds samples of another job, or more than `num`, or
      files that are not from a job.
    OSError: `out` cannot be written to.
  """
  out = files.as_path(out)
  check_output(out, modality)
  linked = files.is_local(out) and out.is_symlink()
  target = out.resolve() if linked else out
  folder = _parts(target) if out.suffix else target
  if out.suffix and _beside(target).exists():
    _differences(_beside(target), metadata)  # one that is from a job
  found = _found(folder, metadata, modality, num)
  missing = np.array([i for i in range(num) if i not in found], int)
  file = lambda i: folder / _name(i, modality)
  with _opened(folder, metadata):
    progress(num - len(missing))
    # By blocks of all samples: no two of a batch are a multiple of it apart, as
    # `Conditions.rows` needs.
    for block in np.unique(missing // batch_size):
      index = missing[missing // batch_size == block]
      samples = draw(np.resize(index, batch_size))[: len(index)]
      for i, sample in zip(index, samples, strict=True):
        modality.save(sample, file(i))
      progress(len(index))
    if out.suffix:
      samples = [_sample(file(i), modality) for i in range(num)]
      modality.gather(samples, names, target)
      files.write_json(_beside(target), metadata)
      for i in range(num):
        file(i).unlink()
      (folder / _METADATA).unlink()
      files.remove_empty(folder)  # files of somebody else stay
  return out


def is_written(
  out: str | os.PathLike[str], metadata: Mapping[str, Any]
) -> bool:
  """Tells whether the file `out` holds the samples of this very job."""
  out = files.as_path(out)
  beside = _beside(out)
  if not out.is_file() or not beside.is_file():
    return False
  return not _differences(beside, metadata)


@contextlib.contextmanager
def _opened(folder: Path, metadata: Mapping[str, Any]) -> Iterator[None]:
  """Makes a folder with metadata; on an error it goes if it has no samples."""
  absent = lambda path: not path.exists()
  new = [*itertools.takewhile(absent, (folder, *folder.parents))]
  try:
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / _METADATA, metadata)
    yield
  except BaseException as error:
    with contextlib.suppress(OSError):
      if [path.name for path in folder.iterdir()] == [_METADATA]:
        (folder / _METADATA).unlink()
      for path in new:
        files.remove_empty(path)
    if isinstance(error, OSError):
      reason = f'{error.strerror or error} while writing {folder}'
      reason += '; the samples that are there stay'
      # With its number, for which `scripts.ending` knows what to do.
      raise OSError(*filter(None, [error.errno]), reason) from error
    raise


def _found(
  folder: Path, metadata: Mapping[str, Any], modality: Modality, num: int
) -> set[int]:
  """Returns the numbers of the samples there, all of this very job."""
  if not folder.is_dir():
    return set()
  unit, path = modality.unit, folder / _METADATA
  there = [p for p in folder.glob(f'*{modality.suffix}') if p.name[0] != '.']
  if not path.exists():
    if there:
      raise ValueError(
        f'{folder} holds {unit}s and no {_METADATA}, so nobody knows where '
        'they are from: use another --out'
      )
    return set()
  differ = _differences(path, metadata)
  if not there:
    return set()  # nothing was drawn, so nothing is lost
  if differ:
    raise ValueError(
      f'{folder} holds {unit}s of another job ({"; ".join(differ)}); use '
      'another --out or delete it'
    )
  numbers = {int(p.stem): p for p in there if p.stem.isdecimal()}
  foreign = {p.name for p in there} - {_name(i, modality) for i in numbers}
  if foreign:
    raise ValueError(
      f'{folder} holds {min(foreign)}, which is not from this job: use another '
      '--out, or move it away'
    )
  if max(numbers) >= num:
    raise ValueError(
      f'{folder} holds {len(numbers)} {unit}s, and {num} were asked for: give '
      f'--num {max(numbers) + 1} or more, or another --out'
    )
  # A file emptied by a power failure is drawn again; no object can be.
  whole = lambda p: not files.is_local(p) or p.stat().st_size
  return {i for i, p in numbers.items() if whole(p)}


def _sample(path: Path, modality: Modality) -> Any:
  try:
    return modality.read(path)
  except Exception as error:  # of whatever reads the format
    raise ValueError(
      f'{path} is damaged: delete it, and the same command draws it again'
    ) from error


def _name(i: int, modality: Modality) -> str:
  return f'{i:06d}{modality.suffix}'


def _parts(out: Path) -> Path:
  """Returns the folder where the samples of a file wait."""
  return out.with_name(out.name + '.parts')


def _beside(out: Path) -> Path:
  """Returns the path of the metadata of a file of samples."""
  return out.with_name(out.name + '.json')


def _differences(path: Path, metadata: Mapping[str, Any]) -> list[str]:
  """Lists the fields in which the job of a file of metadata differs.

  Raises:
    ValueError: The file is damaged, or not from a job.
  """
  before = files.read_json(path, 'metadata')
  if not isinstance(before, dict) or not before.keys() & metadata.keys():
    raise ValueError(f'{path} is not from a job: use another --out')
  return [
    f'{name}: {before.get(name)!r} there, {metadata.get(name)!r} here'
    for name in sorted((before.keys() | metadata.keys()) - set(UNCOMPARED))
    if before.get(name) != metadata.get(name)
  ]
