"""The examples of a run: its data set as the network reads it."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxdiff import conditioning, data, files, parallel
from jaxdiff.config import Categorical, Config, Spec
from jaxdiff.models.model import Model
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
  *,
  learn: bool = False,
) -> Examples:
  """Reads a split of `data.name`, with captions encoded as the run reads them.

  Args:
    config: of the run.
    workdir: where the vocabulary of a run with byte pairs is.
    split: of the data set.
    learn: in a workdir without a checkpoint, learn the vocabulary from the
      captions. Every process must call this alike.

  Raises:
    FileNotFoundError: the vocabulary is missing.
    ValueError: the data set lacks a condition of the run.
  """
  c = config.condition
  dataset = data.load(
    config.data.name,
    split,
    image_size=config.data.image_size,
    data_dir=config.data.data_dir,
    length=config.data.length,
    tokenizer=config.data.tokenizer,
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
  if c.text == 'bpe' and learn:
    _learn_vocabulary(Path(workdir), dataset, c.vocab_size)
  reader = None
  if c.text:
    from jaxdiff.models import prompts

    reader = prompts.make(c, workdir)
  if reader:
    dataset = data.encoded(dataset, reader.encode)
    null |= {name: x[0] for name, x in reader.encode(['']).items()}
  spec = Spec(
    dataset.modality,
    dataset.shape,
    dataset.num_classes,
    reader.dims if reader else None,
  )
  if dataset.categories is not None:
    marginals, sizes = data.frequencies(dataset)
    spec = spec._replace(
      categories=dataset.categories,
      symbols=dataset.symbols,
      marginals=jax.tree.map(lambda probs: tuple(probs.tolist()), marginals),
      sizes=None if sizes is None else tuple(sizes.tolist()),
    )
  return Examples(dataset, spec, null)


def check_symbols(spec: Spec, dataset: data.Dataset) -> None:
  """Raises ValueError unless a data set has the vocabulary of a run.

  Args:
    spec: of the run.
    dataset: on which it is measured.
  """
  if dataset.symbols == spec.symbols:
    return
  known, found = (set(x or ()) for x in (spec.symbols, dataset.symbols))
  raise ValueError(
    f'{dataset.name} {dataset.split} has another vocabulary than the run was '
    f'trained on: {sorted(found - known)} are unknown to the run, and '
    f'{sorted(known - found)} do not occur'
  )


def preview_conditions(
  config: Config, model: Model, examples: Examples, num: int
) -> dict[str, dict[str, np.ndarray]]:
  """Returns the conditions of previews: {'cond', 'null'} of options, or {}.

  Every label in turn; or the captions, or the small images, of the first
  examples of the data set.
  """
  if not model.takes:
    return {}
  batches = data.epoch(examples.dataset, min(num, len(examples.dataset)))
  batch = next(batches)
  batches.close()
  cond = {k: x for k, x in batch['cond'].items() if k in model.takes}
  if model.takes == ('label',):
    cond['label'] = np.arange(examples.spec.num_classes, dtype=np.int32)
  if config.condition.low_res:
    small = conditioning.shrink(batch['x0'], config.condition.low_res)
    cond['low_res'] = np.asarray(small)
  return with_null(cond, examples.null)


def with_null(
  cond: dict[str, np.ndarray], null: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
  """Returns {'cond', 'null'} of options; no 'null' where nothing is dropped."""
  rows = {name: np.asarray(x)[None] for name, x in null.items()}
  return {'cond': cond, **({'null': rows} if rows else {})}


def _learn_vocabulary(workdir: Path, dataset: data.Dataset, size: int) -> None:
  """Learns byte pairs from all captions, unless a run has begun with some."""
  from jaxdiff import tokenizers
  from jaxdiff.models.prompts import VOCABULARY

  begun = Checkpoints(workdir).steps()
  if parallel.is_primary() and not begun:
    captions = dataset.gather(np.arange(len(dataset)))['caption']
    vocabulary = tokenizers.train_bpe(list(captions), size)
    files.write_text(vocabulary, workdir / VOCABULARY)
  parallel.any_process(False)  # the others wait for it
