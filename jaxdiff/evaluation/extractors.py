"""Feature extractors: networks whose features are measured.

inception:FILE      with the published weights: the features of FID
dinov2:PATH         the class token of a published DINOv2: FD-DINOv2
clip:FOLDER         the image tower of a published CLIP
classifier:WORKDIR  of `jaxdiff.classifier`; its distances are never FID

FILE, PATH and FOLDER may be of the Hub, hf://owner/name.
"""

from collections.abc import Mapping, Sequence
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
from jaxdiff.pretrained.dinov2_weights import load_dinov2
from jaxdiff.pretrained.inception_weights import FETCH, load_inception

IMAGE, TEXT = 'image', 'text'  # the features of CLIP's two towers
CLASS = 'cls'  # the feature of DINOv2's class token

_NO_WEIGHTS = (
  f'FID is of the published weights of Inception: fetch {FETCH} and give '
  '--features inception:FILE. Without them --features classifier:WORKDIR gives '
  'a distance that is not FID; python -m jaxdiff.classifier train SET makes one'
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
  """Loads a network by its name, such as 'dinov2:PATH'.

  Args:
    text: Its name.
    weights: File of Inception's, where the name does not have it.
    rule: A key of `resize.RULES`. None: 'pytorch-fid' for Inception, 'dinov2'
      and 'clip' for those, 'none' for a classifier.
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
  if kind == 'inception' and path:
    return inception(path, rule or 'pytorch-fid')
  if kind == 'dinov2' and path:
    return dinov2(path, rule or 'dinov2')
  if kind == 'clip' and path:
    return clip(read_clip(path), Path(path).name, rule or 'clip')
  if kind == 'classifier' and path:
    if rule not in (None, 'none'):
      raise ValueError(
        f'a classifier takes images of its own size: --resize none, got {rule}'
      )
    return of_classifier(path)
  raise ValueError(
    '--features must be of inception, clip:FOLDER, dinov2:PATH and '
    f'classifier:WORKDIR, got {text!r}'
  )


def load_all(
  texts: Sequence[str], weights: str | None = None, rule: str | None = None
) -> tuple[Extractor, ...]:
  """Loads several networks; `weights` are of the 'inception' among them.

  Raises:
    ValueError: As in `load`; `rule` for more than one; or two have one name.
  """
  if rule is not None and len(texts) > 1:
    raise ValueError(f'--resize {rule} is for one of --features, got {texts}')
  if not texts:
    raise ValueError('--features must name a network')
  owner = 'inception' if 'inception' in texts else texts[0]
  found = tuple(load(x, weights if x == owner else None, rule) for x in texts)
  names = [x.space[:2] for x in found]
  if len(set(names)) < len(names):
    raise ValueError(f'--features must be of different names, got {texts}')
  return found


def joined(parts: Sequence[Extractor]) -> Extractor:
  """Builds one extractor of several: feature f of number i is 'i/f'.

  One alone stays as it is.
  """
  if len(parts) == 1:
    return parts[0]
  sized = [part for part in parts if part.shape] or parts
  if len({part.shape for part in sized}) > 1:
    raise ValueError(
      f'--features need images of {" and ".join(str(x.shape) for x in sized)}'
    )

  def feature_fn(params: Any, images: Any) -> dict[str, Array]:
    return {
      f'{i}/{name}': x
      for i, part in enumerate(parts)
      for name, x in part.feature_fn(params[i], images[i]).items()
    }

  rule = resize.Rule(
    lambda images: tuple(part.rule.host(images) for part in parts),
    lambda images: images,
  )
  params = tuple(part.params for part in parts)
  feature = f'0/{parts[0].feature}'
  return Extractor(
    sized[0].space, feature, feature_fn, params, rule, sized[0].shape
  )


def named(parts: Sequence[Extractor], index: int, feature: str) -> str:
  """Names a feature of one of several extractors as `joined` does."""
  return feature if len(parts) == 1 else f'{index}/{feature}'


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


def dinov2(path: str, rule: str = 'dinov2') -> Extractor:
  """Loads a DINOv2: {'cls': [B, width]}, the class token after the last norm.

  Source: Stein et al. 2023 (arXiv:2306.04675), FD-DINOv2, of ViT-L/14.
  """
  network, params, sha256 = load_dinov2(path)
  resized = resize.RULES[rule](224)

  def feature_fn(params: Any, images: Array) -> dict[str, Array]:
    found = network.apply({'params': params}, resized.device(images))
    return {CLASS: found.pooled}

  # 'dinov2-vit-l-14', or 'dinov2-vit-l-14-registers'.
  letter = {384: 's', 768: 'b', 1024: 'l'}.get(
    network.width, f'w{network.width}'
  )
  name = f'dinov2-vit-{letter}-{network.patch_size}'
  name += '-registers' if network.num_registers else ''
  space = FeatureSpace(name, Path(path).name, sha256, rule)
  return Extractor(space, CLASS, feature_fn, params, resized)


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
