"""Stable Diffusion 1 at full size with random weights: time and peak memory of
one image of 512x512, by sample.py and by diffusers' pipeline.

  pip install torch diffusers transformers
  pip install --no-deps open_clip_torch
  python -m benchmarks.stable_diffusion write sd_random
  python -m benchmarks.stable_diffusion compare sd_random --dtype bfloat16

`write` makes a folder in diffusers' layout, 4.3 GB, with CLIP's own tokenizer
(from open_clip_torch). `compare` starts each side as a process of its own, in
turns, with few and with more steps of DDIM and guidance 7.5. The time of a step
is the difference of the two times over the difference of their steps. The rest
is loading, compilation, the text and the decoder.
"""

import gzip
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

PROMPT = 'a lighthouse at dusk'


@dataclass(frozen=True)
class Options:
  """Times Stable Diffusion 1 with random weights, ours and diffusers'.

  `draw` is diffusers' side, in this process.
  """

  command: Annotated[Literal['write', 'compare', 'draw'], tyro.conf.Positional]
  folder: Annotated[Path, tyro.conf.Positional]
  steps: tuple[int, ...] = (4, 12)
  size: int = 512
  dtype: Literal['float32', 'bfloat16'] = 'float32'
  out: Path = Path('sd_random_images')


def write_tokenizer(folder: Path) -> None:
  """Writes CLIP's tokenizer as transformers reads it."""
  spec = importlib.util.find_spec('open_clip')
  if spec is None or not spec.submodule_search_locations:
    raise SystemExit('write needs: pip install --no-deps open_clip_torch')
  home = Path(spec.submodule_search_locations[0])
  with gzip.open(home / 'bpe_simple_vocab_16e6.txt.gz', 'rt') as file:
    # The first line is a comment; CLIP has 49,152 - 256 - 2 merges of the file.
    merges = file.read().split('\n')[1 : 49152 - 256 - 2 + 1]
  from transformers.convert_slow_tokenizer import bytes_to_unicode

  letters = list(bytes_to_unicode().values())
  words = [*letters, *(x + '</w>' for x in letters)]
  words += [x.replace(' ', '') for x in merges]
  words += ['<|startoftext|>', '<|endoftext|>']
  folder.mkdir(parents=True)
  vocabulary = {word: i for i, word in enumerate(words)}
  (folder / 'vocab.json').write_text(json.dumps(vocabulary))
  (folder / 'merges.txt').write_text('\n'.join(['#version: 0.2', *merges]))
  config = {'tokenizer_class': 'CLIPTokenizer', 'model_max_length': 77}
  (folder / 'tokenizer_config.json').write_text(json.dumps(config))


def write(folder: Path) -> None:
  """Writes the networks of Stable Diffusion 1, drawn at random."""
  import torch
  from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
  )
  from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

  torch.manual_seed(0)
  write_tokenizer(folder / 'tokenizer')
  text = CLIPTextConfig(
    hidden_size=768,
    intermediate_size=3072,
    num_attention_heads=12,
    num_hidden_layers=12,
    projection_dim=768,
  )
  levels = 4
  StableDiffusionPipeline(
    vae=AutoencoderKL(
      block_out_channels=(128, 256, 512, 512),
      down_block_types=('DownEncoderBlock2D',) * levels,
      up_block_types=('UpDecoderBlock2D',) * levels,
      layers_per_block=2,
    ),
    text_encoder=CLIPTextModel(text),
    tokenizer=CLIPTokenizer.from_pretrained(folder / 'tokenizer'),
    unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
    scheduler=DDIMScheduler(
      beta_start=0.00085,
      beta_end=0.012,
      beta_schedule='scaled_linear',
      clip_sample=False,
      set_alpha_to_one=False,
      steps_offset=1,
    ),
    safety_checker=None,
    feature_extractor=None,
    requires_safety_checker=False,
  ).save_pretrained(folder)


def draw(options: Options) -> None:
  """Draws one image by diffusers."""
  import torch
  from diffusers import StableDiffusionPipeline

  pipeline = StableDiffusionPipeline.from_pretrained(
    options.folder, torch_dtype=getattr(torch, options.dtype)
  )
  image = pipeline(
    PROMPT,
    num_inference_steps=options.steps[0],
    guidance_scale=7.5,
    height=options.size,
    width=options.size,
  ).images[0]
  image.save(options.out / 'diffusers.png')


def commands(options: Options, steps: int) -> dict[str, list[str]]:
  """Returns the command of each side."""
  shared = ['--steps', str(steps), '--size', str(options.size)]
  shared += ['--dtype', options.dtype]
  ours = ['sample.py', str(options.folder), '--prompt', PROMPT, *shared]
  ours += ['--sampler', 'ddim', '--out', str(options.out / f'{steps}')]
  theirs = ['-m', __spec__.name, 'draw', str(options.folder), *shared]
  theirs += ['--out', str(options.out)]
  return {'jaxdiff': ours, 'diffusers': theirs}


def compare(options: Options) -> None:
  """Runs each side with few and with more steps and prints a table."""
  few, more = options.steps
  options.out.mkdir(parents=True, exist_ok=True)
  seconds: dict[str, list[float]] = {}
  peaks: dict[str, float] = {}
  for steps in options.steps:
    for side, command in commands(options, steps).items():
      start = time.monotonic()
      process = subprocess.Popen([sys.executable, *command])
      _, status, usage = os.wait4(process.pid, 0)
      if status:
        raise SystemExit(f'{side} failed')
      seconds.setdefault(side, []).append(time.monotonic() - start)
      peaks[side] = max(peaks.get(side, 0), usage.ru_maxrss / 2**20)
  print(f'| {options.dtype} | s/step | the rest, s | peak, GiB |')
  print('|---|---|---|---|')
  for side, (short, long) in seconds.items():
    step = (long - short) / (more - few)
    rest = short - few * step
    print(f'| {side} | {step:.2f} | {rest:.1f} | {peaks[side]:.2f} |')


def main(options: Options) -> None:
  """Runs the command."""
  if options.command == 'compare':
    if len(options.steps) != 2 or options.steps[0] >= options.steps[1]:
      raise SystemExit('--steps must be two numbers, the smaller first')
    compare(options)
  elif options.command == 'write':
    write(options.folder)
  else:
    draw(options)


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
