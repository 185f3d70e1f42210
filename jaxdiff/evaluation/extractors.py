"""Feature extractors: networks whose features are measured.

inception           with the published weights: the features of FID
clip:FOLDER         the image tower of a published CLIP
classifier:WORKDIR  of `jaxdiff.classifier`; its distances are never FID
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jax import Array

from jaxdiff import classifier
from jaxdiff.data import Dataset
from jaxdiff.evaluation import images, spaces
from jaxdiff.evaluation.features import FeatureFn
from jaxdiff.evaluation.spaces import LOGITS, POOL, SPATIAL, FeatureSpace
from jaxdiff.networks.clip import Clip
from jaxdiff.networks.inception import Inception
from jaxdiff.pretrained import resize
from jaxdiff.pretrained.clip_folder import read_clip
from jaxdiff.pretrained.clip_weights import ClipWeights
from jaxdiff.pretrained.inception_weights import FETCH, load_inception

IMAGE, TEXT = 'image', 'text'  # the features of CLIP's two towers

_NO_WEIGHTS = (
  f'FID is of the published weights of Inception: fetch {FETCH} and give '
  '--weights FILE. Without them --features classifier:WORKDIR gives a distance '
  'that is not FID; python -m jaxdiff.classifier train SET makes one'
)


class Extractor(NamedTuple):
  """A network with its preprocessing."""

  space: FeatureSpace
  feature: str  # that distances are of
  feature_fn: FeatureFn  # (params, images after `rule.host`) -> features
  params: Any
  rule: resize.Rule
  shape: tuple[int, ...] | None = None  # that it needs; None: any
  notes: Mapping[str, Any] = {}  # more that a result states


def load(
  text: str, weights: str | None = None, rule: str | None = None
) -> Extractor:
  """Loads the network 'inception', 'clip:FOLDER' or 'classifier:WORKDIR'.

  Args:
    text: Its name.
    weights: File of Inception's.
    rule: A key of `resize.RULES`. None: 'pytorch-fid' for Inception, 'clip' for
      CLIP, 'none' for a classifier.
  """
  kind, _, path = text.partition(':')
  if rule is not None and rule not in resize.RULES:
    raise ValueError(
      f'--resize must be one of {sorted(resize.RULES)}, got {rule!r}'
    )
  if text == 'inception':
    if weights is None:
      raise ValueError(_NO_WEIGHTS)
    return inception(weights, rule or 'pytorch-fid')
  if weights is not None:
    raise ValueError(
      f'--weights are of --features inception; {text} names its own'
    )
  if kind == 'clip' and path:
    return clip(read_clip(path), Path(path).name, rule or 'clip')
  if kind == 'classifier' and path:
    if rule not in (None, 'none'):
      raise ValueError(
        f'a classifier takes images of its own size: --resize none, got {rule}'
      )
    return of_classifier(path)
  raise ValueError(
    '--features must be inception, clip:FOLDER or classifier:WORKDIR, got '
    f'{text!r}'
  )


def check(extractor: Extractor, dataset: Dataset) -> None:
  """Raises ValueError unless the network takes these images."""
  name, shape = images.title(dataset), extractor.shape
  if dataset.modality != 'image':
    raise ValueError(f'{name} has no images: there are no features of it')
  if shape not in (None, tuple(dataset.shape)):
    raise ValueError(
      f'the {extractor.space.network} of {extractor.space.weights} takes '
      f'images {list(shape)}, {name} has {list(dataset.shape)}'
    )


def inception(path: str, rule: str) -> Extractor:
  """Loads Inception; the result is FID only with the published weights."""
  weights = load_inception(path)
  resized = resize.RULES[rule](299)

  def feature_fn(params: Any, images: Array) -> dict[str, Array]:
    found = Inception().apply({'params': params}, resized.device(images))
    return {POOL: found.pool, SPATIAL: found.spatial, LOGITS: found.logits}

  space = FeatureSpace(spaces.INCEPTION, Path(path).name, weights.sha256, rule)
  return Extractor(space, POOL, feature_fn, weights.params, resized)


def clip(weights: ClipWeights, name: str, rule: str = 'clip') -> Extractor:
  """Builds CLIP's image tower: {'image': [B, projection_dim]}, unnormalised."""
  vision = weights.network.vision
  resized = resize.RULES[rule](vision.image_size)

  def feature_fn(params: Any, images: Array) -> dict[str, Array]:
    found = vision.apply({'params': params}, resized.device(images))
    return {IMAGE: found.embedding}

  # 'clip-vit-b-32', or 'clip-vit-l-14-336' by its image size.
  letters = {384: 's', 768: 'b', 1024: 'l', 1280: 'h', 1664: 'bigg'}
  letter = letters.get(vision.width, f'w{vision.width}')
  network = f'clip-vit-{letter}-{vision.patch_size}'
  if vision.image_size != 224:
    network += f'-{vision.image_size}'
  space = FeatureSpace(network, name, weights.sha256, rule)
  return Extractor(space, IMAGE, feature_fn, weights.params['vision'], resized)


def of_classifier(workdir: str) -> Extractor:
  """Loads a classifier of this library: 'pool' and 'logits'."""
  trained = classifier.load(workdir)
  about, rule = trained.about, resize.none()

  def feature_fn(params: Any, images: Array) -> dict[str, Array]:
    found = trained.network.apply({'params': params}, rule.device(images))
    return {POOL: found.pool, LOGITS: found.logits}

  weights = f'{about.dataset}, seed {about.seed}'
  space = FeatureSpace('classifier', weights, trained.sha256, 'none')
  notes = {
    'classifier_test_accuracy': about.test_accuracy,
    'classifier_test_images': about.num_test,
  }
  return Extractor(
    space, POOL, feature_fn, trained.params, rule, about.image_shape, notes
  )


def text_fn(network: Clip) -> FeatureFn:
  """Builds (params of both towers, tokens [B, L]) -> {'text': [B, D]}."""
  apply = network.text.apply
  return lambda params, tokens: {
    TEXT: apply({'params': params['text']}, tokens).embedding
  }
