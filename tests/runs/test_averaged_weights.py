"""Averages of weights that are made from the checkpoints of a run."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import averages, models, parallel, runs, training
from jaxdiff import config as c
from jaxdiff.evaluation.commands.sweep import Sweep
from jaxdiff.generation.flags import SamplerFlags
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import Checkpoints
from jaxdiff.runs.config_json import save_config

STDS, WANTED, STEPS = (0.05, 0.1), 0.08, 60
SPEC = c.Spec('points', (2,))
CONFIG = c.Config(
  data=c.Data(name='two_moons'),
  network=c.MLP(width=4, depth=1),
  training=c.Training(ema_stds=STDS),
)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run of 60 steps, its weights a random walk, and the wanted averages."""
  workdir = tmp_path_factory.mktemp('run')
  params = models.make(CONFIG, SPEC).init(jax.random.key(0))
  optimizer = optimizers.make(CONFIG.optimizer, STEPS)
  key = jax.random.key(1)
  state = training.init_state(params, optimizer, key, len(STDS))
  walk = np.random.default_rng(0).normal(size=STEPS).cumsum()
  kept, tracked = {std: params for std in (*STDS, WANTED)}, {}
  with Checkpoints(workdir, max_to_keep=STEPS) as store:
    for n in range(1, STEPS + 1):
      now = jax.tree.map(lambda x, n=n: x + walk[n - 1], params)
      for std in kept:
        rate = float(averages.rate(n - 1, std))
        move = lambda old, new, rate=rate: old + rate * (new - old)
        kept[std] = jax.tree.map(move, kept[std], now)
      tracked[n] = kept[WANTED]
      if n % 2 == 0:
        state = state._replace(
          step=jnp.int32(n),
          params=now,
          averages=tuple(kept[std] for std in STDS),
        )
        store.save(n, state)
        store.wait()
  save_config(workdir, c.describe(CONFIG, SPEC))
  return workdir, tracked, np.std(walk)


@pytest.mark.parametrize('step', [None, 40])
def test_an_average_is_the_one_that_training_would_have_kept(run, step):
  workdir, tracked, spread = run
  mesh = parallel.local_mesh()
  loaded = runs.load(workdir, mesh, checkpoint=step, ema=WANTED)
  assert loaded.step == (step or STEPS)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=0.02 * spread),
    loaded.params,
    tracked[loaded.step],
  )
  plain = runs.load(workdir, mesh, checkpoint=step, ema=False)
  assert jax.tree.structure(plain.params) == jax.tree.structure(loaded.params)


def test_a_snapshot_that_is_removed_while_others_are_read(
  run, tmp_path, monkeypatch
):
  # As by a job that writes there.
  workdir, restore = tmp_path / 'run', Checkpoints.restore
  shutil.copytree(run[0], workdir)

  def removing(self, abstract, step=None, **options):
    if step == 4:
      shutil.rmtree(workdir / 'checkpoints' / '4', ignore_errors=True)
    return restore(self, abstract, step, **options)

  monkeypatch.setattr(Checkpoints, 'restore', removing)
  loaded = runs.load(workdir, parallel.local_mesh(), ema=WANTED)
  close = lambda x, y: np.testing.assert_allclose(x, y, atol=0.02 * run[2])
  jax.tree.map(close, loaded.params, run[1][STEPS])
  next((workdir / 'checkpoints' / '2').rglob('*.json')).write_text('')
  with pytest.raises(runs.DamagedCheckpointError):
    runs.load(workdir, parallel.local_mesh(), ema=WANTED)


def test_averages_that_cannot_be_made_are_refused(run, tmp_path):
  workdir, mesh = run[0], parallel.local_mesh()
  with pytest.raises(ValueError, match='--ema-std: .* off.*keep-every'):
    runs.load(workdir, mesh, ema=0.01)
  without = dataclasses.replace(CONFIG, training=c.Training())
  save_config(tmp_path, c.describe(without, SPEC))
  with pytest.raises(ValueError, match='trained with --training.ema-stds'):
    runs.load(tmp_path, mesh, ema=0.05)
  for std in (0.0, 0.3, float('nan')):
    with pytest.raises(ValueError, match='--ema-std'):
      SamplerFlags(ema_std=std).check()
  with pytest.raises(ValueError, match='give --no-ema or --ema-std'):
    SamplerFlags(ema=False, ema_std=0.1).check()


def test_training_keeps_its_averages():
  optimizer = optimizers.make(c.Optimizer(learning_rate=0.1), 10)

  def loss(params, keys, batch):
    return (batch['x0'] - params['w']) ** 2, {}

  task = training.make_task(
    lambda key: {'w': jnp.zeros(())}, loss, optimizer, stds=STDS
  )
  state, seen = task.init(jax.random.key(0)), []
  for _ in range(8):
    state, _ = jax.jit(task.step)(state, {'x0': jnp.ones(4)})
    seen.append(float(state.params['w']))
  for std, average in zip(STDS, state.averages, strict=True):
    expected = 0.0
    for n, w in enumerate(seen):
      expected += float(averages.rate(n, std)) * (w - expected)
    assert float(average['w']) == pytest.approx(expected, rel=1e-5)


def test_a_sweep_has_a_row_for_each_average():
  rows = Sweep(workdir='run', ema='both', ema_stds=STDS).rows()
  assert [row.average for row in rows] == [True, False, *STDS]
