"""What samples of a set are to people."""

from jaxdiff.config import Spec
from jaxdiff.media import Medium


def make_medium(spec: Spec) -> Medium:
  """Images, texts or graphs."""
  if spec.kind == 'graph':
    # networkx and matplotlib: only where there are graphs.
    from jaxdiff.media.graphs import graphs

    return graphs(spec.categories, spec.symbols)
  if spec.kind == 'text':
    from jaxdiff.media.texts import texts

    return texts(spec.symbols)
  from jaxdiff.media import images

  if spec.categories is None:
    return images.numbers()
  return images.categories(spec.categories)
