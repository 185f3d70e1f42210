"""What features are: whose, of which weights, after which resizing.

A number is called FID, sFID, KID or IS only if it comes from the published
Inception weights, known by their hash. From any other network, or from the
same one with other weights, the same formula has the plain name of the
formula and the network beside it.
"""

from typing import NamedTuple

# pt_inception-2015-12-05-6726825d.pth, that of pytorch-fid, and the same file
# under torch-fidelity's name.
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
  """Two results compare only if all four are the same.

  Attributes:
    network: such as 'inception-v3', 'clip-vit-b-32'.
    weights: where they are from, such as the name of their file.
    sha256: of the file of the weights.
    resize: a key of `resize.RULES`, or what else prepared the images.
  """

  network: str
  weights: str
  sha256: str
  resize: str


def is_published(space: FeatureSpace) -> bool:
  """Whether these are features of the published Inception."""
  return (space.network, space.sha256) == (INCEPTION, INCEPTION_SHA256)


def name(formula: str, space: FeatureSpace, feature: str) -> str:
  """'FID' where it is that, else such as 'FD (clip-vit-b-32/image, openai)'.

  Args:
    formula: 'FD' (Frechet distance), 'KD' (kernel distance), 'class score',
      'precision', ...
    space: of the features.
    feature: which of the network's.
  """
  if is_published(space) and (formula, feature) in _ESTABLISHED:
    return _ESTABLISHED[formula, feature]
  return f'{formula} ({space.network}/{feature}, {space.weights})'
