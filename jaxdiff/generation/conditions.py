"""Conditions of samples: requested labels and prompts, or those of a data set.

Sample i has row i modulo M of M rows.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdiff import conditioning
from jaxdiff.config import Config, Spec
from jaxdiff.data.dataset import Cut
from jaxdiff.data.shuffling import permutation
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.infills import one_or_lines
from jaxdiff.models import Model
from jaxdiff.models import prompts as prompts_lib
from jaxdiff.runs import Run, examples

Cond = dict[str, np.ndarray]
# Field of `config.condition` -> the flags that ask for it.
_FLAGS = {
  'label': ('label', 'labels'),
  'text': ('prompt', 'prompts', 'negative_prompt'),
}


class Conditions(NamedTuple):
  """Rows of conditions.

  name: of their source, for reports: 'none', 'each class in turn', ...
  rows: index [B] of samples, different ones not a multiple of B apart, ->
    {name: [M, ...]}; sample i takes row i modulo M.
  null: {name: [...]} from which guidance leads away.
  names: [M] of the rows, for people; [] where rows are not listed.
  cut: of the texts, for reports; None where none are read.
  """

  name: str
  rows: Callable[[np.ndarray], Cond]
  null: Cond
  names: list[str] = []
  cut: Cut | None = None

  def options(self, index: np.ndarray) -> dict[str, Any]:
    """Returns {'cond', 'null'} of `traced_options`, for samples `index`."""
    return examples.with_null(self.rows(index), self.null)


NONE = Conditions('none', lambda index: {}, {})
EACH_CLASS = 'each class in turn'


def requested(run: Run, flags: Flags) -> Conditions:
  """Builds those conditions of the flags that the run takes.

  Raises:
    ValueError: An unknown label, an empty prompt, or no prompt.
    FileNotFoundError: The file, or the vocabulary of the run, is missing.
  """
  c, spec = run.config.condition, run.spec
  cond: Cond = {}
  null: Cond = {}
  names = requested_names(run, flags)
  cut = None
  if c.text:
    reader = prompts_lib.make(c, run.workdir, spec)
    cond |= _encode(reader, names)
    cut = _count_cut(reader, names)
    negative = _encode(reader, [flags.negative_prompt or ''])
    null |= {name: x[0] for name, x in negative.items()}
  if c.label:
    cond['label'] = _labels(spec, flags)
    null['label'] = np.int32(spec.num_classes)
  if not cond:
    return NONE
  return Conditions('as requested', lambda index: cond, null, names, cut)


def requested_names(run: Run, flags: Flags) -> list[str]:
  """Returns the names of the conditions of `requested`; nothing is encoded.

  Raises:
    ValueError: An unknown label, an empty prompt, or no prompt.
    FileNotFoundError: The file is missing.
  """
  c, names = run.config.condition, []
  if c.text:
    names = read_prompts(flags.prompt, flags.prompts)
    if flags.negative_prompt is not None and run.config.sampling.scale == 1:
      raise ValueError(
        'a negative prompt is where guidance leads away from: with --scale 1 '
        'there is no guidance, give a larger one'
      )
  if c.label:
    labels = _labels(run.spec, flags)
    if c.text and len(labels) != len(names):
      raise ValueError(
        f'{len(names)} prompts need as many --labels, got {len(labels)}'
      )
    names = names or [str(label) for label in labels]
  return names


def _labels(spec: Spec, flags: Flags) -> np.ndarray:
  text = flags.labels if flags.label is None else str(flags.label)
  return read_labels(text, spec.num_classes)


def check_taken(runs: Sequence[Run], flags: Flags) -> None:
  """Raises ValueError for conditions that none of the runs was trained on."""
  taken, useless = [], []
  for condition, names in _FLAGS.items():
    if any(getattr(run.config.condition, condition) for run in runs):
      taken += names
    else:
      useless += [n for n in names if getattr(flags, n) is not None]
  if useless:
    shown = lambda names: ', '.join(f'--{n}' for n in names).replace('_', '-')
    raise ValueError(
      f'the model was not trained on {shown(useless)}; it takes '
      f'{shown(taken) or "no condition"}'
    )


def of_split(run: Run, split: str) -> Conditions:
  """Builds the conditions of the examples of a split of the run's data set."""
  if not run.model.takes:
    return NONE
  found = examples.load(run.config, run.workdir, split, run.spec)
  return of_examples(run.config, run.model, found)


def of_examples(
  config: Config, model: Model, found: examples.Examples
) -> Conditions:
  """Builds the conditions of the examples of a data set.

  They come in a fixed random order, so that any number of samples has each
  condition about as often as the set.
  """
  dataset, size = found.dataset, config.condition.low_res
  order = permutation(len(dataset), 0)

  def rows(index: np.ndarray) -> Cond:
    arrays = dataset.gather(order[_in_rows(index) % len(dataset)])
    cond = {name: x for name, x in arrays.items() if name in model.takes}
    if size:
      x0 = arrays['x0'].astype(np.float32) / 127.5 - 1
      cond['low_res'] = np.asarray(conditioning.shrink(x0, size))
    return cond

  name = f'as in {dataset.name} {dataset.split}'
  return Conditions(name, rows, found.null, cut=dataset.cut)


def of_previews(
  config: Config, model: Model, found: examples.Examples
) -> Conditions:
  """Builds the conditions of previews: each class in turn, or of examples."""
  if not model.takes:
    return NONE
  if model.takes == ('label',):
    return uniform(model)
  return of_examples(config, model, found)


def uniform(model: Model, at_most: int | None = None) -> Conditions:
  """Builds the conditions of each class in turn.

  Raises:
    ValueError: The model takes other conditions, or has more than `at_most`
      classes.
  """
  if model.takes != ('label',):
    raise ValueError(
      '--labels uniform is for a model of labels alone; this one takes '
      f'{", ".join(model.takes) or "no condition"}'
    )
  num = model.spec.num_classes
  if at_most is not None and at_most < num:
    raise ValueError(
      f'--labels uniform needs --num {num} or more, one of each class, got '
      f'{at_most}'
    )
  labels = np.arange(num, dtype=np.int32)
  null = {'label': np.int32(num)}
  return Conditions(EACH_CLASS, lambda index: {'label': labels}, null)


def prompted(run: Run, lines: Sequence[str]) -> Conditions:
  """Builds the conditions of prompts in turn, encoded as they are needed."""
  c = run.config.condition
  if c.text is None or c.label or c.low_res:
    raise ValueError(
      'prompts are for a model of texts alone; this one takes '
      f'{", ".join(run.model.takes) or "no condition"}'
    )
  reader, num = prompts_lib.make(c, run.workdir, run.spec), len(lines)
  name, cut = f'{num} prompts in turn', _count_cut(reader, lines)
  null = {name: x[0] for name, x in reader.encode(['']).items()}

  def rows(index: np.ndarray) -> Cond:
    return reader.encode([lines[i % num] for i in _in_rows(index)])

  return Conditions(name, rows, null, cut=cut)


def read_labels(text: str | None, num_classes: int) -> np.ndarray:
  """Parses '0,1,2' into int32 [M]; None is every label."""
  if text is None:
    return np.arange(num_classes, dtype=np.int32)
  labels = _whole_numbers(text)
  if labels is None or max(labels) >= num_classes:
    raise ValueError(
      f'labels must be whole numbers from 0 to {num_classes - 1}, got {text!r}'
    )
  return np.array(labels, np.int32)


def read_prompts(prompt: str | None, file: str | None) -> list[str]:
  """Returns the prompt, or the lines of a file; none may be empty."""
  if prompt is None and file is None:
    raise ValueError(
      'this model draws what a text says: give --prompt "..." or --prompts '
      'FILE with one a line'
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
  """Returns the seed, or parses '3,4,5', one for each row: int32 [M]."""
  if text is None:
    return seed
  seeds = _whole_numbers(text)
  if seeds is None or len(seeds) != num:
    raise ValueError(
      f'--seeds needs {num} whole numbers, one for each label or prompt, got '
      f'{text!r}'
    )
  if max(seeds) >= 2**31:
    raise ValueError(f'--seeds must be below 2^31, got {text!r}')
  return np.array(seeds, np.int32)


def _in_rows(index: np.ndarray) -> np.ndarray:
  """Orders samples [B] so that sample i is at i modulo B.

  A sample may come twice, where copies fill up a batch.

  Raises:
    ValueError: Two different samples have the same place.
  """
  ordered = np.full_like(index, index[0])
  ordered[index % len(index)] = index
  if not np.array_equal(ordered[index % len(index)], index):
    raise ValueError(
      f'samples of a batch must not be a multiple of {len(index)} apart, its '
      f'size, got {index}'
    )
  return ordered


def _whole_numbers(text: str) -> list[int] | None:
  """Parses '0,1,2'; None for anything else."""
  words = [word.strip() for word in text.split(',')]
  return [*map(int, words)] if all(map(str.isdecimal, words)) else None


def _count_cut(reader: prompts_lib.Prompts, lines: Sequence[str]) -> Cut:
  num = sum(reader.count(line) > reader.length for line in lines)
  return Cut(num, len(lines), reader.length)


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
