"""What is known of the data, and the configuration with it."""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from jaxdiff.config.fields import Config
from jaxdiff.config.files import from_dict, to_dict


class Spec(NamedTuple):
  """What a network and a sampler must know of a data set.

  Of graphs, which are dicts of nodes and edges, so are shape, categories and
  marginals.
  """

  shape: Any  # of one example: a tuple, or a dict of them
  num_classes: int | None = None
  text_dims: tuple[int, int] | None = None  # of text, sequence and vector
  categories: Any = None  # how many; None: images as real numbers
  symbols: tuple[str, ...] | None = None  # what a category is written as
  marginals: Any = None  # the frequency of each category
  sizes: tuple[float, ...] | None = None  # of 0, 1, .. elements; None: all

  @property
  def kind(self) -> Literal['image', 'text', 'graph']:
    """What one example is."""
    if isinstance(self.shape, Mapping):
      return 'graph'
    return 'text' if len(self.shape) == 1 else 'image'


def describe(config: Config, spec: Spec) -> dict[str, Any]:
  """What `workdir/config.json` holds: all that sampling needs to know."""
  return {**to_dict(config), 'spec': json.loads(json.dumps(spec._asdict()))}


def undescribe(saved: Mapping[str, Any]) -> tuple[Config, Spec]:
  """The inverse of `describe`."""
  values = {k: v for k, v in saved.items() if k != 'spec'}

  def tuples(x: Any) -> Any:
    if isinstance(x, dict):
      return {name: tuples(value) for name, value in x.items()}
    return tuple(x) if isinstance(x, list) else x

  return from_dict(values), Spec(**tuples(saved['spec']))
