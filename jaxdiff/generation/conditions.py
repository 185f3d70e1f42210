"""Conditions of samples: requested labels and prompts, or those of a data set.

Sample i has row i modulo M of M rows.
"""

import hashlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdiff import conditioning
from jaxdiff.data.shuffling import permutation
from jaxdiff.generation.infills import one_or_lines
from jaxdiff.models import prompts as prompts_lib
from jaxdiff.runs import Run, examples

Cond = dict[str, np.ndarray]


class Conditions(NamedTuple):
  """Rows of conditions.

  name: of their source, for reports: 'none', 'each class in turn', ...
  rows: index [B] -> {name: [M, ...]}; sample i takes row i modulo M.
  null: {name: [...]} from which guidance leads away.
  names: [M] of the rows, for people; [] where rows are not listed.
  """

  name: str
  rows: Callable[[np.ndarray], Cond]
  null: Cond
  names: list[str] = []

  def options(self, index: np.ndarray) -> dict[str, Any]:
    """Returns {'cond', 'null'} of `traced_options`, for samples `index`."""
    return examples.with_null(self.rows(index), self.null)


NONE = Conditions('none', lambda index: {}, {})


class Request(NamedTuple):
  """Requested conditions, as they were typed; None where nothing was."""

  labels: str | None = None  # '3', or '0,1,2'; None is every label
  prompt: str | None = None
  prompts: str | None = None  # a file of them
  negative_prompt: str | None = None


def requested(run: Run, request: Request) -> Conditions:
  """Builds the conditions of a request; what the run does not take is left out.

  Raises:
    ValueError: a label or a prompt that the run does not take.
    FileNotFoundError: the file, or the vocabulary of the run, is missing.
  """
  c, spec = run.config.condition, run.spec
  cond: Cond = {}
  null: Cond = {}
  names: list[str] = []
  if c.text:
    reader = prompts_lib.make(c, run.workdir, spec)
    names = read_prompts(request.prompt, request.prompts)
    cond |= _encode(reader, names)
    negative = _encode(reader, [request.negative_prompt or ''])
    null |= {name: x[0] for name, x in negative.items()}
  if c.label:
    labels = read_labels(request.labels, spec.num_classes)
    if c.text and len(labels) != len(names):
      raise ValueError(
        f'{len(names)} prompts need as many --labels, got {len(labels)}'
      )
    cond['label'] = labels
    null['label'] = np.int32(spec.num_classes)
    names = names or [str(label) for label in labels]
  if not cond:
    return NONE
  _check_guidance(run, null, request)
  return Conditions('as requested', lambda index: cond, null, names)


def check_request(runs: Sequence[Run], request: Request) -> None:
  """Raises ValueError for conditions that none of the runs was trained on."""
  taken: set[str] = set()
  for run in runs:
    c = run.config.condition
    taken |= {'labels'} if c.label else set()
    taken |= {'prompt', 'prompts', 'negative_prompt'} if c.text else set()
  flag = lambda name: '--' + name.replace('_', '-')
  useless = [
    flag(name)
    for name, value in request._asdict().items()
    if value is not None and name not in taken
  ]
  if useless:
    raise ValueError(
      f'the model was not trained on {", ".join(useless)}; it takes '
      f'{", ".join(map(flag, sorted(taken))) or "no condition"}'
    )


def of_split(run: Run, split: str) -> Conditions:
  """Builds the conditions of the examples of a split of the run's data set.

  Examples come in a fixed random order, so that any number of samples has
  their conditions about as often.
  """
  takes = run.model.takes
  if not takes:
    return NONE
  found = examples.load(run.config, run.workdir, split, run.spec)
  dataset, size = found.dataset, run.config.condition.low_res
  order = permutation(len(dataset), 0)

  def rows(index: np.ndarray) -> Cond:
    # Sample i takes row i modulo the number of rows.
    index = index[np.argsort(index % len(index))]
    arrays = dataset.gather(order[index % len(dataset)])
    cond = {name: x for name, x in arrays.items() if name in takes}
    if size:
      x0 = arrays['x0'].astype(np.float32) / 127.5 - 1
      cond['low_res'] = np.asarray(conditioning.shrink(x0, size))
    return cond

  return Conditions(f'as in {dataset.name} {split}', rows, found.null)


def uniform(run: Run) -> Conditions:
  """Builds the conditions of each class in turn."""
  if run.model.takes != ('label',):
    raise ValueError(
      '--labels uniform is for a model of labels alone; this one takes '
      f'{", ".join(run.model.takes) or "no condition"}'
    )
  num = run.spec.num_classes
  labels = np.arange(num, dtype=np.int32)
  return Conditions(
    'each class in turn',
    lambda index: {'label': labels},
    {'label': np.int32(num)},
  )


def prompted(run: Run, lines: Sequence[str]) -> Conditions:
  """Builds the conditions of prompts in turn, encoded as they are needed."""
  c = run.config.condition
  if c.text is None or c.label or c.low_res:
    raise ValueError(
      'prompts are for a model of texts alone; this one takes '
      f'{", ".join(run.model.takes) or "no condition"}'
    )
  reader, num = prompts_lib.make(c, run.workdir, run.spec), len(lines)
  cut = sum(reader.count(line) > reader.length for line in lines)
  name = f'{num} prompts in turn' + (f', {cut} of them truncated' * bool(cut))
  null = {name: x[0] for name, x in reader.encode(['']).items()}

  def rows(index: np.ndarray) -> Cond:
    index = index[np.argsort(index % len(index))]
    return reader.encode([lines[i % num] for i in index])

  return Conditions(name, rows, null)


def read_labels(text: str | None, num_classes: int) -> np.ndarray:
  """Parses '0,1,2' into int32 [M]; None is every label.

  Raises:
    ValueError: not a number, or not a label of the model.
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
  """Returns the prompt, or the lines of a file.

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
  """Returns the seed, or parses '3,4,5', one for each row: int32 [M].

  Raises:
    ValueError: not numbers, or not as many as there are rows.
  """
  if text is None:
    return seed
  words = [word.strip() for word in text.split(',')]
  if not all(word.isdecimal() for word in words) or len(words) != num:
    raise ValueError(
      f'--seeds needs {num} whole numbers, one for each label or prompt, got '
      f'{text!r}'
    )
  if any(int(word) >= 2**31 for word in words):
    raise ValueError(f'--seeds must be below 2^31, got {text!r}')
  return np.array([int(word) for word in words], np.int32)


def digest(*trees: Any) -> str:
  """Computes the SHA-256 of arrays."""
  sha256 = hashlib.sha256()
  for array in jax.tree.leaves(trees):
    sha256.update(np.ascontiguousarray(array).tobytes())
  return sha256.hexdigest()


def _encode(reader: prompts_lib.Prompts, lines: Sequence[str]) -> Cond:
  """Encodes prompts, with a warning for each that is truncated."""
  for line in lines:
    if reader.count(line) > reader.length:
      print(
        f'warning: this model reads {reader.length} tokens, the prompt has '
        f'{reader.count(line)}, and its end is not read: {line!r}',
        file=sys.stderr,
      )
  return reader.encode(lines)


def _check_guidance(run: Run, null: Cond, request: Request) -> None:
  """Raises ValueError for guidance that was not trained or has no effect."""
  scale, c = run.config.sampling.scale, run.config.condition
  if null and c.drop == 0 and scale != 1:
    raise ValueError(
      f'--scale {scale:g} needs a model that met no condition in training, and '
      'this one was trained with condition.drop=0; use --scale 1'
    )
  if c.text and request.negative_prompt is not None and scale == 1:
    raise ValueError(
      'a negative prompt is where guidance leads away from: with --scale 1 '
      'there is no guidance, give a larger one'
    )
