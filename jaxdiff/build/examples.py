"""The data of a run, and the conditions that come with it."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxdiff import conditioning, data, parallel, tokenizers
from jaxdiff.build.categories import of_categories
from jaxdiff.build.frozen import clip_prompts
from jaxdiff.build.model import takes
from jaxdiff.build.prompts import Prompts
from jaxdiff.config import Config, Spec
from jaxdiff.runs import Checkpoints

VOCABULARY = 'tokenizer.json'  # of bpe, in the workdir


def make_prompts(config: Config, workdir: str | Path) -> Prompts | None:
  """None without condition.text.

  Raises:
    FileNotFoundError: the vocabulary of the run is not there.
  """
  c = config.condition
  if c.text is None:
    return None
  if c.text == 'clip':
    return clip_prompts(c.clip)
  if c.text == 'bytes':
    tokenizer = tokenizers.byte_tokenizer(c.length)
  else:
    path = Path(workdir) / VOCABULARY
    if not path.exists():
      raise FileNotFoundError(f'{path}, the vocabulary of the run, is missing')
    tokenizer = tokenizers.bpe_tokenizer(path, c.length)
  encode = lambda prompts: {'tokens': tokenizer.encode(prompts)}
  return Prompts(encode, tokenizer.count, tokenizer.length, (c.width, c.width))


class Examples(NamedTuple):
  """A split of the set of a run, as its network sees it."""

  dataset: data.Dataset
  spec: Spec
  null: dict[str, np.ndarray]  # a row for each condition that may be dropped


def load_examples(
  config: Config,
  workdir: str | Path,
  split: str = 'train',
  *,
  learn: bool = False,
) -> Examples:
  """Reads a split of `data.name`, its captions as the run reads prompts.

  Args:
    config: of the run.
    workdir: where the vocabulary of a run with byte pairs lies.
    split: of the set.
    learn: of a workdir where no run has begun, learn the vocabulary from the
      captions. Every process must ask alike.

  Raises:
    FileNotFoundError: the vocabulary is not there.
    ValueError: the set lacks what the run is conditioned on.
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
  if of_categories(config):
    dataset = data.pixels(dataset)
  elif dataset.categories is not None:
    raise ValueError(
      f'{dataset.name} is of categories: give it a diffusion.process of '
      "theirs, such as 'absorbing'"
    )
  null: dict[str, np.ndarray] = {}
  if c.label:
    if dataset.num_classes is None:
      raise ValueError(
        f'condition.label needs a set with labels; {dataset.name} has none'
      )
    null['label'] = np.int32(dataset.num_classes)
  if c.text and not dataset.has_captions:
    raise ValueError(
      f'condition.text needs a set with captions; {dataset.name} has none'
    )
  if c.text == 'bpe' and learn:
    _learn_vocabulary(Path(workdir), dataset, c.vocab_size)
  prompts = make_prompts(config, workdir)
  if prompts:
    dataset = data.encoded(dataset, prompts.encode)
    null |= {name: x[0] for name, x in prompts.encode(['']).items()}
  spec = Spec(
    dataset.shape, dataset.num_classes, prompts.dims if prompts else None
  )
  if dataset.categories is not None:
    marginals, sizes = data.frequencies(dataset)
    spec = spec._replace(
      categories=dataset.categories,
      symbols=dataset.symbols,
      marginals=jax.tree.map(lambda law: tuple(law.tolist()), marginals),
      sizes=None if sizes is None else tuple(sizes.tolist()),
    )
  return Examples(dataset, spec, null)


def check_symbols(spec: Spec, dataset: data.Dataset) -> None:
  """Raises ValueError unless a set is written as that of a run is.

  Args:
    spec: of the run.
    dataset: what it is to be measured on.
  """
  if dataset.symbols == spec.symbols:
    return
  known, found = (set(x or ()) for x in (spec.symbols, dataset.symbols))
  raise ValueError(
    f'{dataset.name} {dataset.split} is not written as what the run was '
    f'trained on: outside its vocabulary are {sorted(found - known)}, and '
    f'{sorted(known - found)} do not occur'
  )


def _learn_vocabulary(workdir: Path, dataset: data.Dataset, size: int) -> None:
  """Learns byte pairs from all captions, unless a run has begun with some.

  What a configuration that came to nothing has left is written anew.
  """
  begun = Checkpoints(workdir).steps()
  if jax.process_index() == 0 and not begun:
    captions = dataset.gather(np.arange(len(dataset)))['caption']
    vocabulary = tokenizers.train_bpe(list(captions), size)
    workdir.mkdir(parents=True, exist_ok=True)
    temporary = workdir / f'.{VOCABULARY}.{os.getpid()}'
    temporary.write_text(vocabulary)
    temporary.replace(workdir / VOCABULARY)
  parallel.any_process(False)  # the others wait for it


def preview_conditions(
  config: Config, examples: Examples, num: int
) -> dict[str, dict[str, np.ndarray]]:
  """What previews are drawn with: {'cond', 'null'} of `options`, or {}.

  Every label in turn; or the captions, or the small images, of the first
  examples of the set.
  """
  names = takes(config)
  if not names:
    return {}
  batches = data.epoch(examples.dataset, min(num, len(examples.dataset)))
  batch = next(batches)
  batches.close()
  cond = {k: x for k, x in batch['cond'].items() if k in names}
  if names == ('label',):
    cond['label'] = np.arange(examples.spec.num_classes, dtype=np.int32)
  if config.condition.low_res:
    small = conditioning.shrink(batch['x0'], config.condition.low_res)
    cond['low_res'] = np.asarray(small)
  return with_null(cond, examples.null)


def with_null(
  cond: dict[str, np.ndarray], null: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
  """{'cond', 'null'} of `options`; no 'null' where nothing was dropped."""
  rows = {name: np.asarray(x)[None] for name, x in null.items()}
  return {'cond': cond, **({'null': rows} if rows else {})}
