"""Where samples go: a folder of PNG files, one NPZ, or one grid.

Every image is first a file of its own, `000042.png`, written whole or not at
all. A job that was interrupted finds those and draws only the rest. For an NPZ
or a grid the files wait in `OUT.parts` until all are there.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxdiff import pictures


def check_output(out: str | os.PathLike[str]) -> None:
  """Raises ValueError unless `out` ends in .png, .npz, or is a folder."""
  if Path(out).suffix not in ('', '.png', '.npz'):
    raise ValueError(
      f'--out must end in .png (a grid) or .npz, or be a folder, got {out}'
    )


def draw_to(
  out: str | os.PathLike[str],
  num: int,
  draw: Callable[[np.ndarray], np.ndarray],
  metadata: Mapping[str, Any],
  *,
  batch_size: int,
  names: Sequence[str] = (),
  progress: Callable[[int], Any] = lambda done: None,
) -> Path:
  """Draws images 0 .. num - 1 and leaves them at `out`.

  Args:
    out: a folder, or a file ending in .png or .npz (uint8 [N, H, W, C] under
      the name arr_0, as the ADM evaluation reads it).
    num: how many.
    draw: index [b] -> uint8 [b, H, W, C]; always called with batch_size
      indices, so that it is compiled once.
    metadata: what the images depend on; kept as JSON beside them. Images of
      an earlier job are taken only if theirs is the same.
    batch_size: images at a time.
    names: M conditions, image i having that of i modulo M; a grid is labelled
      with them, a row each.
    progress: told how many more are there, after each batch.

  Returns:
    The path of the folder or file.

  Raises:
    ValueError: `out` holds images of another job, or has an unknown ending.
  """
  out = Path(out)
  check_output(out)
  whole = out.suffix != ''
  folder = out.with_name(out.name + '.parts') if whole else out
  folder.mkdir(parents=True, exist_ok=True)
  _claim(folder / 'metadata.json', metadata)

  file = lambda i: folder / f'{i:06d}.png'
  missing = np.array([i for i in range(num) if not file(i).exists()], int)
  progress(num - len(missing))
  for start in range(0, len(missing), batch_size):
    index = missing[start : start + batch_size]
    images = draw(np.resize(index, batch_size))[: len(index)]
    for i, image in zip(index, images, strict=True):
      pictures.save_png(image, file(i))
    progress(len(index))
  if not whole:
    return out

  images = np.stack([_read(file(i)) for i in range(num)])
  if out.suffix == '.png':
    grid = pictures.labelled_grid(images, names) if names else None
    pictures.save_png(pictures.grid(images) if grid is None else grid, out)
  else:
    temporary = out.with_name(f'.{out.stem}.{os.getpid()}.npz')
    np.savez(temporary, arr_0=images)
    temporary.replace(out)
  shutil.copy(folder / 'metadata.json', out.with_name(out.name + '.json'))
  shutil.rmtree(folder)
  return out


def _claim(path: Path, metadata: Mapping[str, Any]) -> None:
  """Writes what the images of this folder depend on, or compares it."""
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
        f'{path.parent} holds images of another job ({"; ".join(differ)}); '
        'use another --out or delete it'
      )
    return
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  temporary.write_text(json.dumps(metadata, indent=2) + '\n')
  temporary.replace(path)


def _read(path: Path) -> np.ndarray:
  image = np.asarray(Image.open(path))
  return image[..., None] if image.ndim == 2 else image
