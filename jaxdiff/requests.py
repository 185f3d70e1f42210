"""What is asked of a conditional model: labels, prompts, and from whom."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdiff import build
from jaxdiff.build import Prompts
from jaxdiff.infills import Infills, one_or_lines


class Asked(NamedTuple):
  """What was typed; None where nothing was."""

  labels: str | None = None  # '3', or '0,1,2'; None is every label
  prompt: str | None = None
  prompts: str | None = None  # a file of them
  negative_prompt: str | None = None  # None: guidance leads from no prompt


class Request(NamedTuple):
  """M conditions: sample i has that of row i modulo M."""

  cond: dict[str, np.ndarray]  # [M, ...]
  null: dict[str, np.ndarray]  # a row: what guidance leads away from
  names: list[str]  # [M], for people; [] of a model that takes neither


def read_labels(text: str | None, num_classes: int) -> np.ndarray:
  """'0,1,2' as int32 [M]; None is every label.

  Raises:
    ValueError: no number, or not a label of the model.
  """
  if text is None:
    return np.arange(num_classes, dtype=np.int32)
  words = [word.strip() for word in text.split(',')]
  wrong = [w for w in words if not (w.isdecimal() and int(w) < num_classes)]
  if wrong:
    raise ValueError(
      f'labels must be whole numbers from 0 to {num_classes - 1}, got '
      f'{", ".join(map(repr, wrong))}'
    )
  return np.array([int(word) for word in words], np.int32)


def read_prompts(prompt: str | None, file: str | None) -> list[str]:
  """The prompt, or the lines of a file.

  Raises:
    ValueError: neither or both are given, or one is empty.
    FileNotFoundError: there is no such file.
  """
  if (prompt is None) == (file is None):
    raise ValueError(
      'this model draws what a text says: give --prompt "..." or --prompts '
      'FILE, one a line'
    )
  lines = one_or_lines(prompt, file, 'prompt')
  empty = [i + 1 for i, line in enumerate(lines) if not line.strip()]
  if empty:
    where = 'the prompt' if file is None else f'{file} line {empty[0]}'
    raise ValueError(
      f'{where} is empty; with --scale 0 the prompt is disregarded'
    )
  return [line.strip() for line in lines]


def read_seeds(text: str | None, seed: int, num: int) -> Any:
  """The seed, or '3,4,5', one for each of `num` conditions: int32 [M].

  Raises:
    ValueError: no numbers, or not as many as there are conditions.
  """
  if text is None:
    return _bounded(seed)
  words = [word.strip() for word in text.split(',')]
  if not all(word.isdecimal() for word in words) or len(words) != num:
    raise ValueError(
      f'--seeds needs {num} whole numbers, one for each label or prompt, got '
      f'{text!r}'
    )
  return np.array([_bounded(int(word)) for word in words], np.int32)


def _bounded(seed: int) -> int:
  if not 0 <= seed < 2**31:
    raise ValueError(f'a seed must be in [0, 2^31), got {seed}')
  return seed


def encode(prompts: Prompts, lines: Sequence[str]) -> dict[str, np.ndarray]:
  """Prompts as conditions; says which of them were cut."""
  for line in lines:
    if prompts.count(line) > prompts.length:
      print(
        f'warning: this model reads {prompts.length} tokens, the prompt has '
        f'{prompts.count(line)}, and its end is not read: {line!r}',
        file=sys.stderr,
      )
  return prompts.encode(lines)


def check_asked(asked: Asked, runs: Sequence[build.Run]) -> None:
  """Raises ValueError for what none of the runs was trained on."""
  taken = set()
  for run in runs:
    taken |= {'labels'} if run.config.condition.label else set()
    text = {'prompt', 'prompts', 'negative_prompt'}
    taken |= text if run.config.condition.text else set()
  flag = lambda name: '--' + name.replace('_', '-')
  useless = [
    flag(name)
    for name, value in asked._asdict().items()
    if value is not None and name not in taken
  ]
  if useless:
    raise ValueError(
      f'the model was not trained on {", ".join(useless)}; it takes '
      f'{", ".join(map(flag, sorted(taken))) or "no condition"}'
    )


def make_request(run: build.Run, workdir: str | Path, asked: Asked) -> Request:
  """The conditions that a run is to be sampled with.

  Args:
    run: what `workdir` holds.
    workdir: of train.py.
    asked: what this run has no use for is left out.

  Raises:
    ValueError: what is asked for is not what the model was trained on.
    FileNotFoundError: the file, or the vocabulary of the run, is missing.
  """
  c, spec = run.config.condition, run.spec
  cond: dict[str, np.ndarray] = {}
  null: dict[str, np.ndarray] = {}
  names: list[str] = []
  if c.text:
    reader = build.make_prompts(run.config, workdir)
    names = read_prompts(asked.prompt, asked.prompts)
    cond |= encode(reader, names)
    negative = encode(reader, [asked.negative_prompt or ''])
    null |= {name: x[0] for name, x in negative.items()}
  if c.label:
    labels = read_labels(asked.labels, spec.num_classes)
    if c.text and len(labels) != len(names):
      raise ValueError(
        f'{len(names)} prompts need as many --labels, got {len(labels)}'
      )
    cond['label'] = labels
    null['label'] = np.int32(spec.num_classes)
    names = names or [str(label) for label in labels]
  return Request(cond, null, names)


class Told(NamedTuple):
  """Sampler options of each run, and the names of what is drawn."""

  traced: list[dict[str, Any]]
  names: list[str]  # [M]; [] without conditions
  sha256: str | None  # of all conditions and seeds


def make_options(
  runs: Sequence[build.Run],
  workdirs: Sequence[str | Path],
  asked: Asked,
  *,
  seed: int = 0,
  seeds: str | None = None,
  infills: Infills | None = None,
) -> Told:
  """`build.options` of each run of a cascade, or of the only one.

  Args:
    runs: from `build.load_run`.
    workdirs: where each is.
    asked: of all; each takes what it was trained on.
    seed: of all noise.
    seeds: instead, '1,2,3', one for each label, prompt or text to infill.
    infills: what is written already.

  Raises:
    ValueError, FileNotFoundError: see `check_asked` and `make_request`.
  """
  check_asked(asked, runs)
  requests = [
    make_request(run, workdir, asked)
    for run, workdir in zip(runs, workdirs, strict=True)
  ]
  names = next((r.names for r in requests if r.names), [])
  for run, request in zip(runs, requests, strict=True):
    check_guidance(run, request, asked)
    if request.names and len(request.names) != len(names):
      raise ValueError(
        f'the stages of a cascade are asked for {len(names)} and '
        f'{len(request.names)} things: give as many --labels as prompts'
      )
  given = {}
  if infills:
    if names and len(infills.texts) not in (1, len(names)):
      raise ValueError(
        f'{len(names)} labels need one text to infill or as many, got '
        f'{len(infills.texts)}'
      )
    given = {'given': infills.arrays}
    names = names or infills.texts
  seed = read_seeds(seeds, seed, max(1, len(names)))
  traced = []
  for run, request in zip(runs, requests, strict=True):
    told = build.with_null(request.cond, request.null)
    options = build.options(run.config, **told)
    traced.append({**options, **given, 'seed': seed})
  digest = hashlib.sha256()
  told_of = [(r.cond, r.null) for r in requests] + [given, seed]
  for array in jax.tree.leaves(told_of):
    digest.update(np.ascontiguousarray(array).tobytes())
  return Told(traced, names, digest.hexdigest() if names else None)


def check_guidance(run: build.Run, request: Request, asked: Asked) -> None:
  """Raises ValueError for guidance that would be by something untrained, and
  for what would be without effect."""
  scale, c = run.config.sampling.scale, run.config.condition
  if request.null and c.drop == 0 and scale != 1:
    raise ValueError(
      f'--scale {scale:g} needs a model that met no condition in training, and '
      'this one was trained with condition.drop=0; use --scale 1'
    )
  if c.text and asked.negative_prompt is not None and scale == 1:
    raise ValueError(
      'a negative prompt is what guidance leads away from: with --scale 1 '
      'there is none, give a larger one'
    )
