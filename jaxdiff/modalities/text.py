"""Texts: a file each, a file of all, and the way from masks to words."""

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import matplotlib
import numpy as np

from jaxdiff import files
from jaxdiff.config import Spec
from jaxdiff.data import vocabulary
from jaxdiff.modalities import Modality, pictures

_RULE = '\n' + '-' * 40 + '\n'  # between texts of several lines
_WIDE = 80  # characters of a line in a film
_FONT = '/fonts/ttf/DejaVuSansMono.ttf'  # comes with matplotlib


def make(spec: Spec) -> Modality:
  """Builds the modality of texts of categories int [B, L]; MASK is _."""
  symbols = spec.symbols
  characters = {len(symbol) for symbol in symbols} == {1}
  return Modality(
    unit='text',
    filmed=6,
    element='character' if characters else 'token',
    suffix='.txt',
    endings=('.txt', '.json'),
    split=lambda drawn: _decode(drawn.x, drawn.size, symbols),
    save=files.write_text,
    read=files.read_text,
    gather=_gather,
    strip=lambda path, stem: _strip(ways(path, symbols), stem),
    frames=lambda path, num: _frames(ways(path, symbols, num)),
  )


def ways(
  path: Any, symbols: Sequence[str], columns: int = 11
) -> list[list[str]]:
  """Every text at up to `columns` times, evenly spaced, both ends in.

  Args:
    path: of a sampler with `trajectory`: x [B, steps + 1, L].
    symbols: the vocabulary.
    columns: of the times shown.
  """
  x = np.asarray(path.x)
  shown = pictures.shown(x.shape[1], columns)
  at = [_decode(x[:, n], path.size, symbols) for n in shown]
  return [list(way) for way in zip(*at, strict=True)]


def _strip(shown: Sequence[Sequence[str]], stem: Path) -> Path:
  several = any('\n' in text for way in shown for text in way)
  rows = [(_RULE if several else '\n').join(way) for way in shown]
  file = stem.with_suffix('.txt')
  files.write_text('\n\n'.join(rows) + '\n', file)
  return file


def _frames(shown: Sequence[Sequence[str]]) -> list[np.ndarray]:
  """Draws all texts at each time, below one another."""
  from PIL import Image, ImageDraw, ImageFont

  fold = lambda text: '\n'.join(
    part for line in text.split('\n') for part in textwrap.wrap(line, _WIDE)
  )
  pages = ['\n\n'.join(map(fold, at)) for at in zip(*shown, strict=True)]
  font = ImageFont.truetype(matplotlib.get_data_path() + _FONT, 14)
  measure = ImageDraw.Draw(Image.new('L', (1, 1))).multiline_textbbox
  boxes = [measure((0, 0), page, font)[2:] for page in pages]
  size = tuple(int(max(sides)) + 24 for sides in zip(*boxes, strict=True))
  frames = []
  for page in pages:
    frame = Image.new('L', size, 255)
    ImageDraw.Draw(frame).multiline_text((12, 12), page, 0, font)
    frames.append(np.asarray(frame)[..., None])
  return frames


def show(
  way: Sequence[str], out: TextIO | None = None, pause: float = 0.15
) -> None:
  """Prints a text as it comes about, whenever something has changed: in place
  on a terminal, else line by line."""
  out = out or sys.stdout  # now, not when this was imported
  lines, before = 0, None
  for text in way:
    if text == before:
      continue
    before = text
    if out.isatty():
      # Up to where the last one began, and erase below.
      out.write(f'\x1b[{lines}F\x1b[J' if lines else '')
      time.sleep(pause)
    out.write(text + '\n')
    out.flush()
    width = shutil.get_terminal_size().columns
    # A long line takes several rows of the terminal.
    lines = sum(max(1, -(-len(row) // width)) for row in text.split('\n'))
  out.write('\n')


def _decode(x: Any, size: Any, symbols: Sequence[str]) -> list[str]:
  x = np.asarray(x)
  lengths = [x.shape[1]] * len(x) if size is None else np.asarray(size)
  return [
    vocabulary.decode(row[:n], symbols)
    for row, n in zip(x, lengths, strict=True)
  ]


def _gather(texts: Sequence[str], names: Sequence[str], path: Path) -> None:
  named = list(texts)
  if names and path.suffix == '.txt':
    named = [f'{names[i % len(names)]}: {text}' for i, text in enumerate(texts)]
  if path.suffix == '.json':
    files.write_text(json.dumps(named, ensure_ascii=False, indent=1), path)
    return
  several = any('\n' in text for text in named)
  files.write_text((_RULE if several else '\n').join(named) + '\n', path)
