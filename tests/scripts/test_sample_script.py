"""sample.py as a person runs it."""

import json
import shutil

import jax
import numpy as np
import pytest
from digits_run import state_of
from PIL import Image

import sample
from jaxdiff import runs
from jaxdiff.runs import Checkpoints, orbax_io


def draw(workdir, *args):
  sample.main([str(workdir), *map(str, args)])


def read(path):
  return np.load(path)['arr_0']


def test_samples_as_files_npz_and_grid(finished, tmp_path, capsys):
  workdir, _ = finished
  many = tmp_path / 'many.npz'
  draw(workdir, '--num', 11, '--steps', 2, '--batch-size', 3, '--out', many)
  images = read(many)
  assert images.shape == (11, 8, 8, 1) and images.dtype == np.uint8
  draw(workdir, '--num', 5, '--steps', 2, '--out', tmp_path / 'files')
  files = sorted((tmp_path / 'files').glob('*.png'))
  assert len(files) == 5
  for image, file in zip(images, files, strict=False):
    difference = np.asarray(Image.open(file), int) - image[..., 0]
    assert abs(difference).max() <= 1  # rounding of equal floats
  draw(workdir, '--num', 5, '--steps', 2, '--out', tmp_path / 'grid.png')
  assert np.asarray(Image.open(tmp_path / 'grid.png')).std() > 0
  described = json.loads((tmp_path / 'many.npz.json').read_text())
  assert described['seed'] == 0 and described['checkpoint_step'] == 30
  assert described['sampler'] == 'ancestral' and 'jax' in described['versions']
  assert not list(tmp_path.glob('*.parts'))


def test_an_interrupted_job_goes_on(finished, tmp_path):
  workdir, _ = finished
  out = tmp_path / 'files'
  args = ('--num', 6, '--steps', 2, '--batch-size', 2, '--out', out)
  draw(workdir, *args)
  before = {p.name: p.stat().st_mtime_ns for p in out.glob('*.png')}
  whole = (out / '000003.png').read_bytes()
  (out / '000003.png').unlink()
  draw(workdir, *args)
  after = {p.name: p.stat().st_mtime_ns for p in out.glob('*.png')}
  assert (out / '000003.png').read_bytes() == whole
  assert {n for n in after if after[n] != before[n]} == {'000003.png'}
  with pytest.raises(SystemExit, match='another job.*seed: 0 there, 1 here'):
    draw(workdir, *args, '--seed', 1)


def test_samples_that_are_not_finite_are_named(finished, tmp_path):
  broken = tmp_path / 'broken'
  shutil.copytree(finished[0], broken)
  step, state = state_of(broken)
  spoil = lambda x: np.full_like(x, np.nan)
  key = jax.random.wrap_key_data(state.key)
  state = state._replace(
    ema_params=jax.tree.map(spoil, state.ema_params), key=key
  )
  with Checkpoints(broken) as store:
    store.save(step + 1, state)
  with pytest.raises(SystemExit, match='4 of .* are not finite .sample 0, 1'):
    draw(broken, '--num', 4, '--steps', 2, '--threshold', 'none')
  assert not list(broken.glob('*.png.parts/*.png'))


def test_only_the_averaged_weights_are_restored(finished, monkeypatch):
  read = []
  real = orbax_io.OrbaxIO.read

  def seen(self, directory, abstract, partial):
    read.extend(jax.tree.leaves(abstract))
    return real(self, directory, abstract, partial)

  monkeypatch.setattr(orbax_io.OrbaxIO, 'read', seen)
  mesh = jax.make_mesh((1, 1), ('data', 'fsdp'), devices=jax.devices()[:1])
  found = runs.load(finished[0], mesh)
  size = lambda leaves: sum(x.size * x.dtype.itemsize for x in leaves)
  assert size(read) == size(jax.tree.leaves(found.params))


def test_editing_an_image(finished, tmp_path):
  image = tmp_path / 'image.png'
  pixels = np.tile(np.arange(8, dtype=np.uint8) * 30, (8, 1))
  Image.fromarray(pixels).save(image)
  out = tmp_path / 'out.npz'
  flags = ('--num', 3, '--steps', 4, '--image', image, '--out', out)
  draw(finished[0], *flags, '--edit', 'img2img', '--strength', 0.5)
  changed = read(out)
  assert changed.shape == (3, 8, 8, 1) and not (changed == changed[0]).all()
  mask = np.zeros((8, 8), np.uint8)
  mask[:, 4:] = 255
  Image.fromarray(mask).save(tmp_path / 'mask.png')
  draw(
    finished[0], *flags, '--edit', 'inpaint', '--mask', tmp_path / 'mask.png'
  )
  filled = read(out)[..., 0].astype(int)
  assert abs(filled - pixels)[..., :4].max() <= 1
  assert abs(filled - pixels)[..., 4:].max() > 1
  with pytest.raises(SystemExit, match='edit'):
    draw(finished[0], '--edit', 'img2img')


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (('--out', 'x.gif'), r'must end in \.png'),
    (('--num', 0), '--num must be in'),
    (('--eta', 0.5), '--eta is for ddim'),
    (('--scale', 2), 'no condition'),
    (('--temperature', 0.5), 'temperature is for categories'),
    (
      ('--edit', 'interpolate', '--sampler', 'heun'),
      'interpolate has --sampler ddim',
    ),
    (('--sampler', 'dddim'), "must be one of .*'ddim'"),
    (('--checkpoint', 5), r'no step 5 .*\[24, 28, 30\]'),
  ],
)
def test_impossible_samples_are_refused(finished, args, message):
  with pytest.raises(SystemExit, match=message):
    draw(finished[0], *args)


def test_a_base_without_use_is_refused(finished):
  with pytest.raises(SystemExit, match='enlarges nothing: --base'):
    draw(finished[0], '--base', finished[0])


def test_no_run_no_samples(tmp_path):
  with pytest.raises(SystemExit, match='holds no run'):
    draw(tmp_path)
