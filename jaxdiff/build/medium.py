"""What samples of a set are to people."""

from jaxdiff.config import Spec
from jaxdiff.modalities import Medium


def make_medium(spec: Spec) -> Medium:
  """Images, texts or graphs."""
  if spec.kind == 'graph':
    # networkx and matplotlib: only where there are graphs.
    from jaxdiff.modalities.graph import graphs

    return graphs(spec.categories, spec.symbols)
  if spec.kind == 'text':
    from jaxdiff.modalities.text import texts

    return texts(spec.symbols)
  from jaxdiff.modalities import image as images

  if spec.categories is None:
    return images.numbers()
  return images.categories(spec.categories)
