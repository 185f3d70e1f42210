"""Comparison of image samples with a reference, by features of a network."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh
from tqdm import tqdm

from jaxdiff import data, files, parallel
from jaxdiff.data import Dataset
from jaxdiff.evaluation import (
  cache,
  extractors,
  features,
  images,
  metrics,
  references,
)
from jaxdiff.evaluation.extractors import Extractor, joined, named
from jaxdiff.evaluation.features import Features, Reduced
from jaxdiff.evaluation.flags import Against, Running
from jaxdiff.evaluation.images import Source
from jaxdiff.evaluation.references import Reference, cache_folder
from jaxdiff.evaluation.spaces import LOGITS
from jaxdiff.parallel.batches import local_range
from jaxdiff.runs import Run, examples

NUM_SAMPLES = 50_000  # of published results
BLOCK = 256  # images in a file of features, the most an interruption costs


class Machine(NamedTuple):
  """The devices of this process, and the images they take at a time."""

  mesh: Mesh
  batch_size: int
  mode: str
  quiet: bool = False  # no progress bars


def machine(running: Running, quiet: bool = False) -> Machine:
  """Finds the devices; the batch size becomes a multiple of them."""
  mesh = parallel.local_mesh()
  size = -(-running.batch_size // mesh.size) * mesh.size
  return Machine(mesh, size, running.mode, quiet)


class Comparison(NamedTuple):
  """The features that samples are compared with."""

  extractors: tuple[Extractor, ...]
  references: tuple[Reference, ...]  # in the features of each
  whole: bool  # features are kept whole, and not only their moments
  machine: Machine
  fields: Mapping[str, Any] = {}  # of a result: features, reference, floor

  def key(self, samples: Mapping[str, Any]) -> str:
    """Hashes everything that the metrics of samples depend on."""
    found = [x.space for x in self.extractors]
    sha256 = self.references[0].sha256
    return files.json_hash([samples, *found, sha256, self.whole])


def compare(
  against: Against, run: Run | None, machine: Machine, num: int
) -> Comparison:
  """Computes the features of the reference and, if wanted, the floor.

  The run is the one that is measured, if it is one: its own data must be those
  it was trained on. The floor is of as many real images as there are samples,
  `num`, or of all.
  """
  # Errors come before the work.
  source, whole = _source(against, run), against.metrics == 'all'
  file = source.name.removeprefix('npz:')
  published = references.has_statistics(file)
  rule = against.resize
  if published and against.features[0].partition(':')[0] == 'inception':
    rule = rule or 'tf1'
  found = extractors.load_all(against.features, against.weights, rule)
  metrics.check_size(num, 'samples')
  if published and (
    whole or source.image_size or source.data_dir or against.cache
  ):
    raise ValueError(
      f'{source} has only moments of features: --metrics frechet, and no '
      '--image-size, --data-dir or --cache'
    )
  floor = _floor(source, found, num) if against.floor else None
  if published:
    known = [references.read_statistics(file, x.space) for x in found]
  else:
    real, folder = _load(source, found), cache_folder(against.cache)
    if run and source.name == run.config.data.name:
      examples.check(run.spec, real)
    known = [_reference(real, x, machine, whole, folder) for x in found]
  compared = _comparison(found, known, whole, machine)
  if floor is None:
    return compared
  name, num = images.title(floor), len(floor)
  measured = measure(compared, floor, {}, desc=f'floor {name}')['metrics']
  more = {'floor': measured, 'floor_data': name, 'floor_num': num}
  return compared._replace(fields={**compared.fields, **more})


def compare_with(
  real: Dataset, against: Against, machine: Machine
) -> Comparison:
  """Computes the features of a data set as the reference; no floor."""
  found = extractors.load_all(against.features, against.weights, against.resize)
  metrics.check_size(len(real), f'images of {images.title(real)}')
  for part in found:
    extractors.check(part, real)
  folder = cache_folder(against.cache)
  known = [_reference(real, x, machine, False, folder) for x in found]
  return _comparison(found, known, False, machine)


def _comparison(
  found: tuple[Extractor, ...],
  known: Sequence[Reference],
  whole: bool,
  machine: Machine,
) -> Comparison:
  space = [x.space._asdict() for x in found]
  fields = {
    'reference': known[0].name,
    'reference_sha256': known[0].sha256,
    'num_references': known[0].num,
    'space': space if len(space) > 1 else space[0],
    **{name: note for x in found for name, note in x.notes.items()},
    'floor': None,
  }
  return Comparison(found, tuple(known), whole, machine, fields)


def measure(
  comparison: Comparison,
  samples: Dataset,
  fields: Mapping[str, Any],
  folder: Path | None = None,
  desc: str = 'samples',
) -> dict[str, Any]:
  """Computes the result of samples: metrics, `fields` of both, warnings."""
  parts, machine = comparison.extractors, comparison.machine
  kept = lambda x: [x.feature, LOGITS] if comparison.whole else [LOGITS]
  keep = [named(parts, i, f) for i, x in enumerate(parts) for f in kept(x)]
  ours = extract(samples, joined(parts), machine, keep, folder, desc)
  values, warnings = {}, []
  for i, part in enumerate(parts):
    start = named(parts, i, '')
    found = metrics.measure(
      part.space,
      {
        f.removeprefix(start): x for f, x in ours.items() if f.startswith(start)
      },
      comparison.references[i].features,
      feature=part.feature,
    )
    values |= found.values
    warnings += found.warnings
  warnings += _warnings(comparison, len(samples))
  warnings += cut_warnings(fields)
  fields = {**fields, **comparison.fields}
  return {'metrics': values, **fields, 'warnings': warnings}


def cut_warnings(fields: Mapping[str, Any]) -> list[str]:
  """Says how many texts the model that drew the samples has not read whole."""
  cut = fields.get('conditions_truncated')
  say = '{num} of {of} texts are cut to the {length} tokens of the model'
  return [say.format(**cut)] if cut else []


def extract(
  dataset: Dataset,
  extractor: Extractor,
  machine: Machine,
  keep: Collection[str],
  folder: Path | None = None,
  desc: str = 'samples',
) -> Reduced:
  """Extracts the features of images; all processes must call.

  The features in `keep` are kept whole, the others become moments. They are
  written to `folder`, if given, so that an interrupted job continues.
  """
  extractors.check(extractor, dataset)
  start, stop = local_range(len(dataset))
  size, quiet = machine.batch_size, machine.quiet or not parallel.is_primary()
  block = -(-BLOCK // size) * size

  def parts() -> Iterator[Features]:
    num = stop - start
    with tqdm(total=num, desc=desc, unit='image', disable=quiet) as bar:
      run = features.extraction(
        extractor.feature_fn,
        extractor.params,
        mesh=machine.mesh,
        mode=machine.mode,
        prepare=extractor.rule.host,
        progress=bar.update,
      )
      for first in range(start, stop, block):
        last = min(first + block, stop)
        name = f'{first}-{last}'
        part = cache.load(folder, name) if folder else None
        if part is not None:
          bar.update(last - first)
        else:
          batches = images.batches(dataset, size, first, last)
          part = features.concatenate(run(batches))
          if folder:
            cache.save(folder, name, part)
        yield part

  return features.reduce(parts(), keep)


def _source(against: Against, run: Run | None) -> Source:
  """Finds the reference: that of the flags, or the training set of the run."""
  config = run and run.config
  if against.reference is None and config is None:
    raise ValueError(
      '--reference is needed: digits, captioned_shapes, tfds:NAME[:SPLIT], '
      'folder:PATH, a folder of images, or an .npz'
    )
  source = images.parse(against.reference or config.data.name)
  size, data_dir = against.image_size, against.data_dir
  if config is not None and source.name == config.data.name:
    # The same images as in training.
    size = size or config.data.image_size
    data_dir = data_dir or config.data.data_dir
    if size == config.data.image_size:
      source = source._replace(downsampling=config.data.downsampling)
  return source._replace(image_size=size, data_dir=data_dir)


def _load(source: Source, parts: Sequence[Extractor]) -> Dataset:
  dataset = source.load()
  for part in parts:
    extractors.check(part, dataset)
  metrics.check_size(len(dataset), f'images of {source}')
  return dataset


def _floor(source: Source, parts: Sequence[Extractor], num: int) -> Dataset:
  """Loads as many images of the other split as there are samples."""
  if source.split == 'all':
    raise ValueError(
      '--floor compares two splits of a named set, such as tfds:cifar10; '
      f'{source} has none'
    )
  split = 'test' if source.split == 'train' else 'train'
  dataset = _load(source._replace(split=split), parts)
  return data.subset(dataset, min(num, len(dataset)))


def _reference(
  real: Dataset,
  extractor: Extractor,
  machine: Machine,
  whole: bool,
  folder: Path,
) -> Reference:
  """Computes the reference's moments, or reads them from the cache."""
  desc = f'reference {images.title(real)}'
  run = partial(extract, real, extractor, machine, desc=desc)
  arrays = run([extractor.feature]) if whole else {}

  def compute() -> dict[str, Any]:
    found = arrays or run([])
    return {name: metrics.moments(x) for name, x in found.items()}

  found = references.cached(real, extractor.space, compute, folder)
  return found._replace(features={**found.features, **arrays})


def _warnings(comparison: Comparison, num: int) -> list[str]:
  found, space = [], comparison.extractors[0].space
  floor = comparison.fields.get('floor_num', num)
  if floor != num:
    found.append(
      f'the floor is of {floor} images and the samples are {num}: of fewer '
      'images a Frechet distance is larger'
    )
  if num < NUM_SAMPLES:
    found.append(
      f'{num} samples do not compare with {NUM_SAMPLES}: the Frechet distance '
      'falls with their number'
    )
  if comparison.references[0].num is None:
    found.append(
      'the reference does not state its number of examples, nor the rule by '
      f'which they were resized; here it was {space.resize!r}'
    )
  return found
