"""What a configuration says: frozen dataclasses of numbers and names.

What the names stand for is in `choices`.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Data:
  """What to train on."""

  name: str = 'digits'  # see `data.load`: tfds:<name>, folder:<path>, ...
  image_size: int | None = None  # a folder's images are cut to this
  flip: bool = False  # mirror half of the images
  length: int | None = None  # characters of an example of text
  tokenizer: str | None = None  # of text: a tokenizer.json; None: characters
  data_dir: str | None = None  # where prepared sets lie


@dataclass(frozen=True)
class Diffusion:
  """The process, what the network predicts, and the loss.

  Names may have arguments: --diffusion.weighting 'min_snr(5)'. Text, graphs and
  pixels as categories have a process, schedules, predictions and losses of
  their own, and no use for what stands below `positions`.
  """

  # gaussian; of categories: absorbing | uniform | marginal | ordinal(width)
  process: str = 'gaussian'
  schedule: str = 'cosine'
  num_steps: int = 1000  # T, of tables of betas and losses of T steps
  prediction: str = 'v'  # of categories: logits | log_ratios
  # The error is measured in this; None: prediction. Of categories: nelbo (None)
  # | variational(lambda) | cross_entropy
  loss: str | None = None
  times: str = 'continuous'  # continuous | grid | logit_normal | log_normal
  positions: Literal['independent', 'stratified', 'antithetic'] = 'stratified'
  importance: int | None = None  # bins of t, drawn where the loss is large
  zero_terminal_snr: bool = False  # of a table of betas: no signal at t = 1
  shift: float = 1.0  # of sigma / alpha, for larger images (SD3)
  weighting: str | None = None  # instead of loss: a weight for the error of x0
  per_log_snr: bool = False  # each nat of log-SNR weighs alike
  error: str = 'square'  # square | abs | huber | pseudo_huber
  offset_noise: float = 0.0  # strength of one more normal for each channel
  variance: Literal['small', 'large', 'learned'] = 'small'
  objective: Literal['hybrid', 'vlb'] = 'hybrid'  # what trains a learned one
  vlb_scale: float = 1e-3  # hybrid: L_simple + vlb_scale L_vlb


@dataclass(frozen=True)
class Condition:
  """What the network is told beside the noisy image."""

  label: bool = False  # the set's classes
  text: Literal['bytes', 'bpe', 'clip'] | None = None  # the set's captions
  low_res: int | None = None  # edge of a small image to be made a large one
  drop: float = 0.1  # probability of training without label and text
  augment: float = 0.5  # low_res: the most noise it is given in training
  # Of text:
  length: int = 96  # tokens, at most, with both ends
  vocab_size: int = 512  # bpe: trained on the captions
  width: int = 128  # of the encoder, trained with the denoiser
  depth: int = 2
  num_heads: int = 4
  clip: str | None = None  # clip: a folder of a frozen published encoder


@dataclass(frozen=True)
class UNet:
  """See `networks.unet`."""

  channels: int = 128
  channel_mults: tuple[int, ...] = (1, 2, 2, 2)
  num_res_blocks: int = 2
  attention_resolutions: tuple[int, ...] = (16,)
  num_heads: int = 1
  head_channels: int | None = None
  transformer_depth: int = 1  # with text: blocks wherever it attends
  dropout: float = 0.0
  scale_shift_norm: bool = False
  resblock_updown: bool = False
  patch_size: int = 1  # squares of pixels as channels: faster, coarser


@dataclass(frozen=True)
class DiT:
  """See `networks.dit`."""

  patch_size: int = 2
  width: int = 384
  depth: int = 12
  num_heads: int = 6


@dataclass(frozen=True)
class Transformer:
  """See `networks.transformer`: for text."""

  width: int = 256
  depth: int = 6
  num_heads: int = 4
  dropout: float = 0.0
  time: bool = True  # false: not told how much is noise (absorbing)
  absolute: bool = True  # positions also by sinusoids, not rotary alone


@dataclass(frozen=True)
class GraphTransformer:
  """See `networks.graph_transformer`: for graphs."""

  width: int = 64
  edge_width: int = 32
  global_width: int = 64
  depth: int = 5
  num_heads: int = 4
  features: bool = True  # counted cycles and the spectrum


@dataclass(frozen=True)
class Network:
  """The denoising network: one of its kinds, and the sizes of that kind."""

  kind: Literal['unet', 'dit', 'transformer', 'graph_transformer'] = 'unet'
  unet: UNet = field(default_factory=UNet)
  dit: DiT = field(default_factory=DiT)
  transformer: Transformer = field(default_factory=Transformer)
  graph_transformer: GraphTransformer = field(default_factory=GraphTransformer)
  dtype: Literal['float32', 'bfloat16'] = 'float32'
  remat: bool = False  # recompute blocks in the backward pass: less memory


@dataclass(frozen=True)
class Optimizer:
  """An optax chain: clip by global norm, Adam, learning-rate schedule."""

  name: Literal['adam', 'adamw'] = 'adam'
  learning_rate: float = 2e-4
  schedule: Literal['constant', 'cosine', 'linear'] = 'constant'
  warmup_steps: int = 0
  clip_norm: float | None = 1.0
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  weight_decay: float = 0.0


@dataclass(frozen=True)
class Training:
  """How long, how many at once, and what is looked at."""

  num_steps: int = 1000
  batch_size: int = 128  # over all devices and hosts
  accumulate: int = 1  # microbatches a step is cut into
  steps_per_execution: int = 1  # that make one program, by scan
  ema_decay: float = 0.9999
  log_every: int = 50
  preview_every: int = 500


@dataclass(frozen=True)
class Sampling:
  """How train.py draws its pictures, and what sample.py does unless told."""

  sampler: str = 'ddim'
  steps: int = 50
  eta: float = 0.0  # ddim: 0 deterministic, 1 ancestral
  times: str = 'uniform'
  threshold: str = 'clip'  # of the denoised estimate
  scale: float = 1.0  # of guidance; 1 is the conditional model, 0 the other
  guidance: str = 'classifier_free'  # or apg
  interval: tuple[float, float] = (0.0, 1.0)  # the t that are guided
  rescale: float = 0.0  # phi of guidance.rescaled
  augment: float = 0.1  # low_res: the noise put on the small image
  temperature: float = 1.0  # of categories: below 1 the likely is likelier
  block: int | None = None  # of text: left to right, so much at a time
  num: int = 64


@dataclass(frozen=True)
class Evaluation:
  """Samples measured in training, into WORKDIR/evaluation/STEP.json."""

  every: int | None = None
  features: str = 'inception'  # or clip:FOLDER, classifier:WORKDIR
  weights: str | None = None  # inception: the published file
  resize: str | None = None  # inception: None is pytorch-fid's rule
  num: int = 1000


@dataclass(frozen=True)
class Checkpoint:
  """When the state is saved, and which saves stay."""

  every: int = 500
  max_to_keep: int = 3
  keep_every: int | None = None


@dataclass(frozen=True)
class Parallel:
  """Over which devices and hosts."""

  mode: Literal['jit', 'pmap'] = 'jit'
  fsdp: int = 1  # devices each parameter is divided over
  coordinator: str | None = None  # several hosts: 'auto', or host:port
  num_processes: int | None = None
  process_id: int | None = None


@dataclass(frozen=True)
class Config:
  """Train a diffusion model. The flags start from the file of --config."""

  config: str = 'configs/digits.py'
  workdir: str = 'runs/digits'
  seed: int = 0
  data: Data = field(default_factory=Data)
  condition: Condition = field(default_factory=Condition)
  diffusion: Diffusion = field(default_factory=Diffusion)
  network: Network = field(default_factory=Network)
  optimizer: Optimizer = field(default_factory=Optimizer)
  training: Training = field(default_factory=Training)
  sampling: Sampling = field(default_factory=Sampling)
  evaluation: Evaluation = field(default_factory=Evaluation)
  checkpoint: Checkpoint = field(default_factory=Checkpoint)
  parallel: Parallel = field(default_factory=Parallel)


# A run may be continued with other values of anything but these.
FIXED = (
  'seed',
  'spec',
  'data',
  'condition',
  'diffusion',
  'network',
  'optimizer',
)
