"""The examples of a run: its data set as the network reads it."""

import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdiff import data, files, parallel
from jaxdiff.config import Categorical, Config, Latent, Spec
from jaxdiff.data.captions import listed
from jaxdiff.runs.config_json import read_config
from jaxdiff.runs.store import Checkpoints


class Examples(NamedTuple):
  """A split of the data set of a run."""

  dataset: data.Dataset
  spec: Spec
  null: dict[str, np.ndarray]  # the null value of each dropped condition


def load(
  config: Config,
  workdir: str | Path,
  split: str = 'train',
  spec: Spec | None = None,
  *,
  training: bool = False,
) -> Examples:
  """Reads a split of `data.name`, with captions encoded as the run reads them.

  Args:
    config: of the run.
    workdir: where the vocabulary of a run with byte pairs is.
    split: of the data set.
    spec: of a trained run, whose data these must be.
    training: the run begins with these data, or continues: then they must be
      those that it began with. A run that begins learns its vocabulary from the
      captions. Every process must call this alike.

  Raises:
    FileNotFoundError: the data or the vocabulary are missing.
    ValueError: the data set lacks a condition of the run, or is another one.
  """
  c = config.condition
  if training and Checkpoints(workdir).steps():
    spec = read_config(workdir)[1]
  changes = 'flip', 'augment'  # of examples that are loaded
  options = {k: v for k, v in vars(config.data).items() if k not in changes}
  try:
    dataset = data.load(split=split, **options)
  except FileNotFoundError as error:
    flag = '--data.name' if training else '--data-name'
    if spec is None:
      raise
    raise FileNotFoundError(f'{error}; data that moved: {flag}') from None
  for name in changes:
    value = training and getattr(config.data, name)
    if value and dataset.modality != 'image':
      raise ValueError(
        f'--data.{name} is for images, and {dataset.name} has none'
      )
  if isinstance(config.diffusion, Categorical):
    dataset = data.pixels(dataset)
  null: dict[str, np.ndarray] = {}
  if c.label:
    if dataset.num_classes is None:
      raise ValueError(
        f'--condition.label needs a data set with labels; {dataset.name} has '
        'none'
      )
    null['label'] = np.int32(dataset.num_classes)
  if c.text and not dataset.has_captions:
    raise ValueError(
      f'--condition.text needs a data set with captions; {dataset.name} has '
      'none'
    )
  if c.text == 'bpe' and training and spec is None:
    _learn_vocabulary(files.as_path(workdir), dataset, c.vocab_size)
  if spec:
    check(spec, dataset)
  about, images = dict(dataset.identity), dataset
  if training and config.latent.cache is not None:
    from jaxdiff.runs import latent_cache

    latent = config.latent
    dataset = latent_cache.cached(dataset, latent.autoencoder, latent.cache)
  reader = None
  if c.text:
    from jaxdiff.models import prompts

    reader = prompts.make(c, workdir, spec)
    about[prompts.READER] = reader.sha256
    cut = data.count_cut(dataset, reader.count, reader.length)
    dataset = replace(data.encoded(dataset, reader.encode), cut=cut)
    null |= {name: x[0] for name, x in reader.encode(['']).items()}
  if spec and not training:
    return Examples(dataset, spec, null)
  compared = getattr(config.diffusion, 'perceptual', None)
  if compared is not None:
    from jaxdiff.models import perceptual

    known = spec and spec.data and spec.data.get('perceptual')
    about['perceptual'] = known or perceptual.load(compared).sha256
  if dataset.cut:
    about['cut'] = dataset.cut._asdict()
  found = Spec(
    dataset.modality,
    dataset.shape,
    dataset.num_classes,
    reader.dims if reader else None,
    data=about,
  )
  if config.latent.autoencoder is not None:
    if spec:
      found = found._replace(latents=spec.latents)
    elif config.init is None:  # else those of --init
      found = found._replace(latents=_measured(config.latent, images))
  if dataset.categories is not None:
    marginals, sizes = data.frequencies(dataset)
    found = found._replace(
      categories=dataset.categories,
      symbols=dataset.symbols,
      marginals=jax.tree.map(lambda probs: tuple(probs.tolist()), marginals),
      sizes=None if sizes is None else tuple(sizes.tolist()),
    )
  return Examples(dataset, found, null)


def moved(config: Config, name: str | None) -> Config:
  """Returns a configuration with its data set under another name, if any."""
  name = name or config.data.name
  return replace(config, data=replace(config.data, name=name))


def check(spec: Spec, dataset: data.Dataset) -> None:
  """Compares a data set with the one that a run was trained on.

  Class names, hashes of the content and the vocabulary are compared, and not
  the path. A run from before these were kept is accepted, with a warning.

  Args:
    spec: of the run.
    dataset: any split.

  Raises:
    ValueError: another data set; the message names what differs.
  """
  now, before = dataset.identity, spec.data
  if before is None:
    _warn(
      f'the run is older than the record of its data: {dataset.name} is not '
      'compared with what it was trained on'
    )
    before = {}
  found = list(_differences(spec, dataset))
  differing = [
    part
    for part, value in now.items()
    if part not in ('kind', 'classes') and before.get(part, value) != value
  ]
  if differing:
    found.append(f'other {", ".join(differing)}')
  if found:
    raise ValueError(
      f'{dataset.name} is not the data that the run was trained on: '
      + '; '.join(found)
    )


def _differences(spec: Spec, dataset: data.Dataset) -> Iterator[str]:
  """Yields the differences that can be told without reading the data."""
  before = spec.data or {}
  kind = dataset.identity['kind']
  if before.get('kind', kind) != kind:
    yield f'it is {kind} and was {before["kind"]}'
  classes = before.get('classes', ())
  if classes and classes != dataset.class_names:
    yield f'other classes or order: {_changes(classes, dataset.class_names)}'
  if dataset.symbols != spec.symbols:
    changes = _changes(spec.symbols or (), dataset.symbols or ())
    yield f'another vocabulary: {changes}'


def _changes(old: Sequence[str], new: Sequence[str]) -> str:
  """Names the strings that are new, and those that are gone."""
  parts = (set(new) - set(old), set(old) - set(new))
  added, gone = (listed([*map(repr, sorted(x))]) or 'none' for x in parts)
  return f'{added} new, {gone} gone'


@functools.cache
def _warn(line: str) -> None:
  if parallel.is_primary():
    print(f'warning: {line}', file=sys.stderr)


def with_null(
  cond: dict[str, np.ndarray], null: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
  """Returns {'cond', 'null'} of options; no 'null' where nothing is dropped."""
  rows = {name: np.asarray(x)[None] for name, x in null.items()}
  return {'cond': cond, **({'null': rows} if rows else {})}


def _measured(c: Latent, dataset: data.Dataset) -> dict[str, Any]:
  """Measures the latents of a fixed random subset of the images."""
  from jaxdiff.models import latent

  part = data.subset(dataset, min(c.num, len(dataset)))
  batches = data.epoch(part, min(64, len(part)))
  try:
    return latent.measure(c.autoencoder, (batch['x0'] for batch in batches))
  finally:
    batches.close()


def _learn_vocabulary(workdir: Path, dataset: data.Dataset, size: int) -> None:
  """Learns byte pairs from all captions."""
  from jaxdiff import tokenizers
  from jaxdiff.models.prompts import VOCABULARY

  if parallel.is_primary():
    captions = dataset.gather(np.arange(len(dataset)))['caption']
    vocabulary = tokenizers.train_bpe(list(captions), size)
    files.write_text(vocabulary, workdir / VOCABULARY)
  parallel.any_process(False)  # the others wait for it
