"""Networks whose features can be measured, each with how images reach it.

inception           with the published weights: what FID is made of
clip:FOLDER         the image tower of a published CLIP
classifier:WORKDIR  of `jaxdiff.classifier`: never FID
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jax import Array

from jaxdiff import classifier
from jaxdiff.evaluation import resize, spaces
from jaxdiff.evaluation.features import FeatureFn
from jaxdiff.evaluation.images import Images
from jaxdiff.evaluation.spaces import LOGITS, POOL, SPATIAL, FeatureSpace
from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.networks.inception import Inception
from jaxdiff.pretrained.clip_weights import ClipWeights, load_clip
from jaxdiff.pretrained.inception_weights import load_inception

# The features of CLIP's two towers.
IMAGE, TEXT = 'image', 'text'

_NO_WEIGHTS = (
  'FID is of the published weights of Inception: fetch '
  'pt_inception-2015-12-05-6726825d.pth from https://github.com/mseitzer/'
  'pytorch-fid/releases/download/fid_weights/'
  'pt_inception-2015-12-05-6726825d.pth and give --weights FILE. Without '
  'them --features classifier:WORKDIR gives a distance that is not FID; '
  'python -m jaxdiff.classifier train SET makes one'
)
_NO_CLIP = (
  'must hold a CLIP: model.safetensors (or pytorch_model.bin) and config.json '
  "of Hugging Face's layout, or open_clip_model.safetensors (or "
  "open_clip_pytorch_model.bin) and open_clip_config.json of open_clip's, "
  'e.g. from https://huggingface.co/openai/clip-vit-base-patch32'
)
_WEIGHTS = {
  'config.json': ('model.safetensors', 'pytorch_model.bin'),
  'open_clip_config.json': (
    'open_clip_model.safetensors',
    'open_clip_pytorch_model.bin',
  ),
}


class Extractor(NamedTuple):
  """A network as `features.stream` takes it.

  Attributes:
    space: what a result says of it.
    feature: of its features, the one that distances are of.
    feature_fn: (params, images as `rule.host` leaves them) -> features.
    params: of the network.
    rule: how images reach its size.
    shape: [H, W, C] it is made for; None if the rule makes any image fit.
    notes: what else a result should say of it.
  """

  space: FeatureSpace
  feature: str
  feature_fn: FeatureFn
  params: Any
  rule: resize.Rule
  shape: tuple[int, ...] | None = None
  notes: Mapping[str, Any] = {}


def load(
  text: str,
  weights: str | os.PathLike | None = None,
  rule: str | None = None,
) -> Extractor:
  """The network that 'inception', 'clip:FOLDER', 'classifier:WORKDIR' names.

  Args:
    text: of the command line.
    weights: file of Inception's.
    rule: of `resize.RULES`; None for the network's own: 'pytorch-fid' for
      Inception, 'clip' for CLIP, 'none' for a classifier.

  Raises:
    ValueError: unknown network or rule; no weights given for Inception.
    FileNotFoundError: no such weights; the message says where to get them.
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


def check(extractor: Extractor, images: Images) -> None:
  """Raises ValueError unless the network takes these images."""
  if extractor.shape not in (None, tuple(images.shape)):
    raise ValueError(
      f'the {extractor.space.network} of {extractor.space.weights} takes '
      f'images {list(extractor.shape)}, {images.name} has {list(images.shape)}'
    )


def inception(path: str | os.PathLike, rule: str) -> Extractor:
  """Inception of a weights file; FID only if it is the published one."""
  weights = load_inception(path)
  resized = resize.RULES[rule](299)

  def feature_fn(params: Any, images: Array) -> dict[str, Array]:
    found = Inception().apply({'params': params}, resized.device(images))
    return {POOL: found.pool, SPATIAL: found.spatial, LOGITS: found.logits}

  space = FeatureSpace(spaces.INCEPTION, Path(path).name, weights.sha256, rule)
  return Extractor(space, POOL, feature_fn, weights.params, resized)


def clip(weights: ClipWeights, name: str, rule: str = 'clip') -> Extractor:
  """The image tower: {'image': [B, projection_dim]}, not normalised."""
  vision = weights.network.vision
  resized = resize.RULES[rule](vision.image_size)

  def feature_fn(params: Any, images: Array) -> dict[str, Array]:
    seen = vision.apply({'params': params}, resized.device(images))
    return {IMAGE: seen.embedding}

  space = FeatureSpace(clip_name(weights.network), name, weights.sha256, rule)
  params = weights.params['vision']
  return Extractor(space, IMAGE, feature_fn, params, resized)


def of_classifier(workdir: str | os.PathLike) -> Extractor:
  """The features of a `jaxdiff.classifier`, under 'pool' and 'logits'."""
  trained = classifier.load(workdir)
  about = trained.about
  rule = resize.none()

  def feature_fn(params: Any, images: Array) -> dict[str, Array]:
    found = trained.network.apply({'params': params}, rule.device(images))
    return {POOL: found.pool, LOGITS: found.logits}

  space = FeatureSpace(
    'classifier', f'{about.dataset}, seed {about.seed}', trained.sha256, 'none'
  )
  notes = {
    'classifier_test_accuracy': about.test_accuracy,
    'classifier_test_images': about.num_test,
  }
  return Extractor(
    space, POOL, feature_fn, trained.params, rule, about.image_shape, notes
  )


def clip_name(network: Clip) -> str:
  """Such as 'clip-vit-b-32', or 'clip-vit-l-14-336' of larger images."""
  vision = network.vision
  letters = {384: 's', 768: 'b', 1024: 'l', 1280: 'h', 1664: 'bigg'}
  letter = letters.get(vision.width, f'w{vision.width}')
  size = '' if vision.image_size == 224 else f'-{vision.image_size}'
  return f'clip-vit-{letter}-{vision.patch_size}{size}'


def read_clip(folder: str | os.PathLike) -> ClipWeights:
  """Both towers from a folder of either layout.

  Raises:
    FileNotFoundError: it holds none; the message says what it must hold.
    ValueError: weights that cannot be read, or of another network.
  """
  folder = Path(folder)
  for config, names in _WEIGHTS.items():
    files = [folder / name for name in names if (folder / name).is_file()]
    if (folder / config).is_file() and files:
      if config == 'config.json':
        return load_clip(files[0])
      described = json.loads((folder / config).read_text('utf-8'))
      return load_clip(files[0], open_clip_network(described['model_cfg']))
  raise FileNotFoundError(f'{folder} {_NO_CLIP}')


def open_clip_network(config: Mapping[str, Any]) -> Clip:
  """The network of the `model_cfg` in an `open_clip_config.json`.

  Raises:
    ValueError: a model of another kind than two plain transformers.
  """
  vision, text = config['vision_cfg'], config['text_cfg']
  if not isinstance(vision.get('layers', 12), int) or {
    'timm_model_name',
    'hf_model_name',
  } & {*vision, *text}:
    raise ValueError(
      'only vision transformers and plain text transformers of open_clip are '
      f'read, got {config}'
    )
  dim, width = config['embed_dim'], vision.get('width', 768)
  activation = 'quick_gelu' if config.get('quick_gelu') else 'gelu'
  text_width = text.get('width', 512)
  return Clip(
    ClipText(
      width=text_width,
      num_layers=text.get('layers', 12),
      num_heads=text.get('heads', 8),
      mlp_width=math.floor(text_width * text.get('mlp_ratio', 4.0)),
      projection_dim=dim,
      vocab_size=text.get('vocab_size', 49408),
      max_length=text.get('context_length', 77),
      activation=activation,
    ),
    ClipVision(
      image_size=vision.get('image_size', 224),
      patch_size=vision.get('patch_size', 16),
      width=width,
      num_layers=vision.get('layers', 12),
      num_heads=width // vision.get('head_width', 64),
      mlp_width=math.floor(width * vision.get('mlp_ratio', 4.0)),
      projection_dim=dim,
      activation=activation,
    ),
  )


def text_fn(network: Clip) -> FeatureFn:
  """(params of both towers, tokens [B, L]) -> {'text': [B, D]}."""

  def feature_fn(params: Any, tokens: Array) -> dict[str, Array]:
    read = network.text.apply({'params': params['text']}, tokens)
    return {TEXT: read.embedding}

  return feature_fn
