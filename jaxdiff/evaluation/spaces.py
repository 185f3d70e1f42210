"""Feature spaces: a network, its weights and a resize rule; names of metrics.

A metric is called FID, sFID, KID or IS only for the features of the published
Inception weights, known by their hash. For any other features it has the plain
name of its formula, with the network and the weights.
"""

from typing import NamedTuple

# pt_inception-2015-12-05-6726825d.pth of pytorch-fid and torch-fidelity.
INCEPTION_SHA256 = (
  '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2'
)
INCEPTION = 'inception-v3'

# The features of INCEPTION: average pool [2048], first 7 channels of
# Mixed_6d's 1x1 branch [2023], logits without bias [1008].
POOL, SPATIAL, LOGITS = 'pool', 'spatial', 'logits'

# (formula, feature of the published Inception) -> its established name
_ESTABLISHED = {
  ('FD', POOL): 'FID',
  ('FD', SPATIAL): 'sFID',
  ('KD', POOL): 'KID',
  ('class score', LOGITS): 'IS',
}


class FeatureSpace(NamedTuple):
  """Two results compare only if all four fields agree."""

  network: str  # such as 'inception-v3', 'clip-vit-b-32'
  weights: str  # such as the name of their file
  sha256: str  # of that file
  resize: str  # a key of `resize.RULES`


def is_published(space: FeatureSpace) -> bool:
  """Tells whether the features are those of the published Inception."""
  return (space.network, space.sha256) == (INCEPTION, INCEPTION_SHA256)


def name(formula: str, space: FeatureSpace, feature: str) -> str:
  """Names a metric: 'FID', or such as 'FD (clip-vit-b-32/image, openai)'.

  The formulas are 'FD' (Frechet distance), 'KD' (kernel distance), 'class
  score', 'precision', ...
  """
  if is_published(space) and (formula, feature) in _ESTABLISHED:
    return _ESTABLISHED[formula, feature]
  return f'{formula} ({space.network}/{feature}, {space.weights})'
