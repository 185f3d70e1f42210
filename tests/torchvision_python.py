"""Imports torchvision where its compiled operators cannot be loaded.

Its wheels are built for torch with CUDA. Under torch for CPU alone the Python
part works, networks included, once two operators are declared that it wants to
register something for.
"""

import sys

import pytest


def import_or_skip():
  """Call before anything is imported that imports torchvision."""
  torch = pytest.importorskip('torch')
  try:
    import torchvision
  except ModuleNotFoundError:
    pytest.skip('torchvision is not installed', allow_module_level=True)
  except RuntimeError:
    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms'):
      library.define(
        f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
      )
    for name in [n for n in sys.modules if n.startswith('torchvision.')]:
      del sys.modules[name]
    import torchvision

    # The declaration lives as long as the object.
    torchvision.declared_operators = library
