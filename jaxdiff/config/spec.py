"""The specification of a data set: what a model must know of its data."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxdiff.config.config import Config
from jaxdiff.config.files import from_dict, to_dict


class Spec(NamedTuple):
  """The properties of a data set on which a model depends.

  For graphs, which are dicts of nodes and edges, shape, categories and
  marginals are dicts too.
  """

  modality: str  # 'points', 'image', 'text' or 'graph', said by the data set
  shape: Any  # of one example: a tuple, or a dict of them
  num_classes: int | None = None
  text_dims: tuple[int, int] | None = None  # text sequence and text vector
  categories: Any = None  # the number of categories; None: real numbers
  symbols: tuple[str, ...] | None = None  # how a category is written
  marginals: Any = None  # the frequency of each category
  sizes: tuple[float, ...] | None = None  # distribution of sizes; None: fixed


def describe(config: Config, spec: Spec) -> dict[str, Any]:
  """Returns the content of `workdir/config.json`, all that sampling needs."""
  return {**to_dict(config), 'spec': json.loads(json.dumps(spec._asdict()))}


def undescribe(saved: Mapping[str, Any]) -> tuple[Config, Spec]:
  """Reads what `describe` returned, from this version or an older one.

  Raises:
    ValueError: a field is missing, unknown, or has the wrong type.
  """
  from jaxdiff.config import migration

  saved = migration.migrated(saved)
  values = {k: v for k, v in saved.items() if k != 'spec'}

  def tuples(x: Any) -> Any:
    if isinstance(x, dict):
      return {name: tuples(value) for name, value in x.items()}
    return tuple(map(tuples, x)) if isinstance(x, list) else x

  spec = saved.get('spec')
  if not isinstance(spec, dict) or not spec.keys() <= set(Spec._fields):
    raise ValueError('spec must be an object with the fields of a data set')
  if not isinstance(spec.get('modality'), str) or not spec.get('shape'):
    raise ValueError('spec must have a modality and a shape')
  return from_dict(values), Spec(**tuples(spec))
