"""sample.py of a folder of Stable Diffusion, as a person runs it."""

import json
import shutil

import numpy as np
import pytest
import tiny_stable_diffusion
from PIL import Image

import sample
from jaxdiff import runs


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny_stable_diffusion.write(tmp_path_factory.mktemp('sd') / 'whole')


def draw(folder, out, *flags):
  flags = ['--prompt', 'a cat', '--num', '2', '--steps', '4', *flags]
  sample.main([str(folder), '--out', str(out), *map(str, flags)])
  return np.load(out)['arr_0']


def test_prompts_become_images(folder, tmp_path):
  sized = ('--size', 16, '--sampler', 'dpmpp_2m')
  images = draw(folder, tmp_path / 'a.npz', *sized)
  assert images.shape == (2, 16, 16, 3) and images.std() > 0
  other = ('--negative-prompt', 'a dog')
  assert np.any(draw(folder, tmp_path / 'b.npz', *sized, *other) != images)
  described = json.loads((tmp_path / 'b.npz.json').read_text())
  assert described['scale'] == 7.5 and described['negative_prompt'] == 'a dog'


@pytest.mark.slow
def test_an_image_is_filled_in(folder, tmp_path):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (16, 16, 3), np.uint8)
  mask = np.zeros((16, 16), np.uint8)
  mask[3:9, 5:12] = 255
  Image.fromarray(image).save(tmp_path / 'image.png')
  Image.fromarray(mask).save(tmp_path / 'mask.png')
  flags = ['--sampler', 'ddim', '--edit', 'inpaint', '--repeats', 1]
  for name in ('image', 'mask'):
    flags += [f'--{name}', tmp_path / f'{name}.png']
  filled = draw(folder, tmp_path / 'a.npz', *flags)
  assert np.all(filled[:, mask == 0] == image[mask == 0])
  assert np.any(filled[:, mask > 0] != image[mask > 0])
  assert np.any(filled[0] != filled[1])


@pytest.mark.slow
def test_sdxl_is_told_sizes(tmp_path):
  unet = tiny_stable_diffusion.XL
  folder = tiny_stable_diffusion.write(tmp_path / 'xl', unet)
  images = draw(folder, tmp_path / 'a.npz')
  assert images.shape == (2, 16, 16, 3) and images.std() > 0
  sizes = ('--sizes', 1024, 512, 0, 9, 16, 16)
  other = draw(folder, tmp_path / 'b.npz', *sizes)
  assert np.any(other != images)
  described = json.loads((tmp_path / 'b.npz.json').read_text())
  assert described['sizes'] == [1024, 512, 0, 9, 16, 16]
  assert described['scale'] == 5.0
  (folder / 'tokenizer_2' / 'merges.txt').unlink()
  with pytest.raises(SystemExit, match='tokenizer_2/merges.txt is missing'):
    draw(folder, tmp_path / 'c.npz')


@pytest.mark.slow
def test_a_network_that_fills_in(tmp_path):
  unet = tiny_stable_diffusion.UNET | {'in_channels': 9}
  folder = tiny_stable_diffusion.write(tmp_path / 'sd', unet)
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (16, 16, 3), np.uint8)
  mask = np.zeros((16, 16), np.uint8)
  mask[4:10, 6:12] = 255
  Image.fromarray(image).save(tmp_path / 'image.png')
  Image.fromarray(mask).save(tmp_path / 'mask.png')
  flags = ['--edit', 'inpaint']
  for name in ('image', 'mask'):
    flags += [f'--{name}', tmp_path / f'{name}.png']
  filled = draw(folder, tmp_path / 'a.npz', *flags)
  assert np.all(filled[:, mask == 0] == image[mask == 0])
  assert np.any(filled[:, mask > 0] != image[mask > 0])
  # The channels beside the noise decide.
  Image.fromarray(255 - image).save(tmp_path / 'image.png')
  other = draw(folder, tmp_path / 'b.npz', *flags)
  assert np.any(other[:, mask > 0] != filled[:, mask > 0])
  with pytest.raises(SystemExit, match='is trained to fill in: give --edit'):
    draw(folder, tmp_path / 'c.npz')
  with pytest.raises(SystemExit, match='--jump and --repeats are for'):
    draw(folder, tmp_path / 'c.npz', *flags, '--jump', 2)


def broken(folder, tmp_path, name, change):
  """A copy of a folder with a file changed; None removes it."""
  copy = tmp_path / 'broken'
  shutil.copytree(folder, copy)
  if change is None:
    (copy / name).unlink()
  else:
    content = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps(content | change))
  return copy


UNET, SCHEDULER = 'unet/config.json', 'scheduler/scheduler_config.json'


@pytest.mark.parametrize(
  'name, change, message',
  [
    (UNET, None, 'broken is no whole Stable Diffusion: unet/config.json is'),
    ('tokenizer/merges.txt', None, 'tokenizer/merges.txt is missing'),
    (UNET, {'act_fn': 'gelu'}, "act_fn must be 'silu', got 'gelu'"),
    (UNET, {'new': 1}, "'new' is no known field"),
    (UNET, {'in_channels': 7}, 'the U-Net has 7 channels of latents'),
    (UNET, {'in_channels': 9}, 'is trained to fill in: give --edit inpaint'),
    (UNET, {'layers_per_block': 2}, 'missing: down_blocks.0.attentions.1'),
    (UNET, {'attention_head_dim': [2, 2, 2]}, 'must be a size, or 2 of them'),
    (SCHEDULER, {'thresholding': True}, 'thresholding must be False, got True'),
    (SCHEDULER, {'prediction_type': 'flow'}, 'prediction_type must be one of'),
    (SCHEDULER, {'_class_name': 'Other'}, '_class_name must be one of'),
    ('vae/config.json', {'shift_factor': 0.1}, 'shift_factor must be null'),
    ('text_encoder/config.json', {'hidden_act': 'relu'}, "got 'relu'"),
    (
      'model_index.json',
      {'_class_name': 'StableDiffusion3Pipeline'},
      "got 'StableDiffusion3Pipeline'",
    ),
  ],
)
def test_faults_are_named_in_one_line(folder, tmp_path, name, change, message):
  copy = broken(folder, tmp_path, name, change)
  with pytest.raises(SystemExit) as error:
    draw(copy, tmp_path / 'a.npz')
  assert message in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
  'flags, message',
  [
    (('--size', 9), '--size must be a multiple of 2, at least 4, got 9'),
    (('--checkpoint', 1), '--checkpoint is for runs that were trained here'),
    (('--label', 1), 'not trained on --label'),
    (('--sizes', 1, 2), '--sizes must be six numbers, for SDXL'),
    (('--times', 'karras(rho=-1)'), '--times=karras'),
    (('--times', 'leading(offset=400)'), '--times=leading.*not decreasing'),
    (('--sampler', 'surest_first'), '--sampler must be one of'),
    (('--sampler', 'flow_map'), '--sampler flow_map needs diffusion.loss'),
    (('--block', 2), '--block is for categories'),
    (('--seeds', '1,2'), '--seeds needs 1 whole numbers'),
    (('--infill', 'a_'), '--infill is for a model of text'),
    (('--edit', 'img2img', '--image', 'gone.png'), 'gone.png'),
    (('--negative-prompt', 'b', '--scale', 1), 'no guidance, give a larger'),
    (('--out', 'a.txt'), '--out must end in .png'),
    (('--show',), '--show is not for a model'),
  ],
)
def test_flags_that_do_not_fit(folder, tmp_path, flags, message, monkeypatch):
  # They are found before any weights are read.
  monkeypatch.setattr(runs, 'load_stable_diffusion', None)
  with pytest.raises(SystemExit, match=message):
    draw(folder, tmp_path / 'a.npz', *flags)


def test_flags_of_stable_diffusion_are_not_for_runs(tmp_path):
  for flag in (['--size', '8'], ['--prediction', 'v']):
    with pytest.raises(SystemExit, match=f'{flag[0]} is for Stable Diffusion'):
      sample.main([str(tmp_path), *flag])
