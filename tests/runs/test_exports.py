"""Weights of a run as safetensors and back; its sampler from a file."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from measured import make_run
from safetensors.numpy import load_file, save_file

from jaxdiff import config as c
from jaxdiff import models, parallel, runs
from jaxdiff.generation import exported
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.from_flags import make_job
from jaxdiff.pretrained.__main__ import main
from jaxdiff.runs import exports, published
from jaxdiff.runs.published import Published


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp('runs') / 'digits'
  make_run(path)
  return path


def run_of(config, spec):
  """A run that was never written, its parameters random."""
  model = models.make(config, spec)
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  rng = np.random.default_rng(0)
  draw = lambda x: jnp.asarray(rng.standard_normal(x.shape, np.float32))
  params = jax.tree.map(draw, shapes)
  return runs.Run('', config, spec, model, 0, params)


def test_a_run_is_the_same_after_the_round_trip(workdir, tmp_path):
  main(['export', str(workdir), str(tmp_path / 'x.safetensors')])
  main(['import', str(tmp_path / 'x.safetensors'), str(tmp_path / 'run')])
  mesh = parallel.local_mesh()
  before, after = runs.load(workdir, mesh), runs.load(tmp_path / 'run', mesh)
  assert runs.digest(after.params) == runs.digest(before.params)
  assert after.spec == before.spec
  same = dataclasses.replace(after.config, workdir=str(workdir))
  assert same == before.config
  # The names are those of diffusers.
  names = set(load_file(tmp_path / 'x.safetensors'))
  assert {'class_embedding.weight', 'conv_norm_out.bias'} <= names
  assert 'mid_block.attentions.0.to_out.0.weight' in names
  with pytest.raises(FileExistsError, match='holds a run'):
    published.save(
      exports.load(tmp_path / 'x.safetensors', str(tmp_path / 'run'))
    )


@pytest.mark.parametrize('kind', ['dit', 'autoencoder', 'adm'])
def test_other_networks(kind, tmp_path):
  config, spec = tiny.config, c.Spec('image', (8, 8, 1))
  if kind == 'dit':
    network = c.DiT(width=8, depth=2, num_heads=2)
  elif kind == 'adm':
    network = dataclasses.replace(
      config.network, channel_mults=(1, 2), resblock_updown=True
    )
  else:
    network = c.Autoencoder(
      latent_channels=2,
      channels=8,
      channel_mults=(1, 2),
      num_res_blocks=1,
      num_groups=4,
    )
    config = dataclasses.replace(
      config, diffusion=c.Autoencoding(), network=network
    )
  config = dataclasses.replace(config, network=network)
  run = run_of(config, spec)
  exports.save(run, tmp_path / 'x.safetensors')
  found = exports.load(tmp_path / 'x.safetensors', 'elsewhere')
  assert runs.digest(found.params) == runs.digest(run.params)
  assert isinstance(found, Published) and found.config.workdir == 'elsewhere'
  names = set(load_file(tmp_path / 'x.safetensors'))
  known = {
    'dit': 'blocks.attention.q.kernel',
    'autoencoder': 'encoder.mid_block.attentions.0.to_q.weight',
    'adm': 'encoder_0_0.norm_0.scale',
  }
  assert known[kind] in names


def test_wrong_weights_are_refused(workdir, tmp_path):
  with pytest.raises(ValueError, match='written to .safetensors'):
    exports.save(runs.load(workdir, parallel.local_mesh()), tmp_path / 'x.npz')
  run = run_of(
    dataclasses.replace(
      tiny.config, network=c.DiT(width=8, depth=2, num_heads=2)
    ),
    c.Spec('image', (8, 8, 1)),
  )
  path = tmp_path / 'x.safetensors'
  exports.save(run, path)
  state = load_file(path)
  name = 'blocks.attention.q.kernel'
  for changed in (
    {name: state[name][:1]},
    {name: state[name].astype(np.float16)},
    {'extra': state[name]},
  ):
    save_file(state | changed, path)
    with pytest.raises(ValueError, match=f'1 tensors.*({name}|extra)'):
      exports.load(path, 'elsewhere')
  described = json.loads(path.with_suffix('.json').read_text())
  for section in ('diffusion', 'network', 'optimizer', 'sampling'):
    name = 'schedule' if section == 'optimizer' else 'name'
    name = {'sampling': 'sampler', 'diffusion': 'schedule'}.get(section, name)
    outside = described[section] | {name: 'os:system("true")'}
    text = json.dumps(described | {section: outside})
    path.with_suffix('.json').write_text(text)
    with pytest.raises(ValueError, match=f'{section}.{name} is .*not imported'):
      exports.load(path, 'elsewhere')
  for name, changed in (
    ('log', {'log': 'os:system'}),
    ('data.name', {'data': described['data'] | {'name': 'os:system'}}),
  ):
    path.with_suffix('.json').write_text(json.dumps(described | changed))
    with pytest.raises(ValueError, match=f'{name} is .*not imported'):
      exports.load(path, 'elsewhere')
  for content in (
    {'data': 3},
    described | {'spec': {}},
    described | {'diffusion': described['diffusion'] | {'kind': []}},
    described | {'condition': described['condition'] | {'label': True}},
  ):
    path.with_suffix('.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'x\.json describes no run'):
      exports.load(path, 'elsewhere')


def test_a_file_of_something_else_is_not_replaced(workdir, tmp_path):
  described = workdir / 'config.json'
  before = described.read_bytes()
  (tmp_path / 'x.safetensors').write_text('weights of something else')
  for words in (
    ['export', str(workdir), str(workdir / 'config.safetensors')],
    ['export-sampler', str(workdir), str(tmp_path / 'x.jaxexport')],
  ):
    with pytest.raises(SystemExit, match='give another name'):
      main(words)
  assert described.read_bytes() == before
  assert not list(tmp_path.glob('x.jaxexport'))


def test_the_library_of_the_file_may_be_missing(workdir, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'flatbuffers', None)
  job = make_job(Flags(workdir=str(workdir)), parallel.local_mesh())
  with pytest.raises(ValueError, match=r"pip install 'jaxdiff\[export\]'"):
    exported.save(job, tmp_path / 'x.jaxexport', 2)
  with pytest.raises(ValueError, match='written to .jaxexport'):
    exported.save(job, tmp_path / 'x', 2)


def test_the_sampler_of_a_guided_model(workdir, tmp_path):
  pytest.importorskip('flatbuffers')
  make_run(tmp_path / 'weak', seed=1)
  out, guide = tmp_path / 'x.jaxexport', str(tmp_path / 'weak')
  flags = ['--labels', '3', '--scale', '2', '--steps', '1', '--batch-size', '1']
  flags += ['--threshold', 'none', '--guide', guide]
  main(['export-sampler', str(workdir), str(out), *flags])
  arrays = load_file(tmp_path / 'x.safetensors')
  own, other = ({**arrays} for _ in range(2))
  names = [n.removeprefix('params/own/') for n in arrays if '/own/' in n]
  assert {f'params/guide/{name}' for name in names} < set(arrays)
  for name in names:  # each guides itself, so that the scale has no effect
    own[f'params/guide/{name}'] = arrays[f'params/own/{name}']
    other[f'params/own/{name}'] = arrays[f'params/guide/{name}']
  sampler = jax.export.deserialize(bytearray(out.read_bytes()))
  index = np.zeros(1, np.int32)
  a, b, c = (sampler.call(x, index) for x in (arrays, own, other))
  np.testing.assert_allclose(a, 2 * b - c, rtol=1e-4, atol=1e-4)
  assert np.abs(b - c).max() > 1e-2


@pytest.mark.slow
def test_the_sampler_in_a_file_draws_the_same(workdir, tmp_path):
  pytest.importorskip('flatbuffers')
  out = tmp_path / 'x.jaxexport'
  flags = ['--labels', '3,1', '--scale', '2', '--steps', '2', '--seed', '5']
  flags += ['--batch-size', '3']
  main(['export-sampler', str(workdir), str(out), *flags])
  sampler = jax.export.deserialize(bytearray(out.read_bytes()))
  assert sampler.platforms == ('cpu', 'cuda', 'tpu')
  arrays = load_file(tmp_path / 'x.safetensors')
  index = np.arange(3, dtype=np.int32)
  job = make_job(
    Flags(workdir=str(workdir), labels='3,1', scale=2.0, steps=2, seed=5),
    parallel.local_mesh(),
  )
  every = np.arange(8, dtype=np.int32)  # over as many devices
  drawn = job.draw(job.params, job.options(every), every)
  expected = np.asarray(drawn.x)[:3]
  found = np.asarray(sampler.call(arrays, index))
  np.testing.assert_allclose(found, expected, atol=1e-5)
  # Another seed is another input, not another file.
  arrays['options/seed'] = np.int32(6)
  assert np.abs(np.asarray(sampler.call(arrays, index)) - found).max() > 0.1
