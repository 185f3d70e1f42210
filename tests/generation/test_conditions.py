"""Conditions as they are typed: labels, prompts and seeds."""

import numpy as np
import pytest
import tiny

from jaxdiff import conditioning, models, runs
from jaxdiff import config as c
from jaxdiff.data.dataset import Cut, Dataset
from jaxdiff.evaluation import measuring
from jaxdiff.generation import conditions, from_flags, job
from jaxdiff.generation import flags as flags_lib
from jaxdiff.generation.flags import Flags, SamplerFlags
from jaxdiff.models import prompts
from jaxdiff.runs import Run, examples


def run_of(scale=2.0, **condition):
  config = tiny.changed(
    tiny.config,
    condition={'length': 12, 'width': 8, **condition},
    sampling={'scale': scale},
  )
  spec = c.Spec('image', (8, 8, 1), 10, (8, 8))
  return Run('w', config, spec, models.make(config, spec), 0, None)


def requested(run, **request):
  return conditions.requested(run, Flags(workdir='w', **request))


def rows(found):
  return found.options(np.arange(2))


def test_labels():
  np.testing.assert_array_equal(conditions.read_labels('3', 10), [3])
  np.testing.assert_array_equal(conditions.read_labels('0, 9,2', 10), [0, 9, 2])
  np.testing.assert_array_equal(conditions.read_labels(None, 4), range(4))


@pytest.mark.parametrize('text', ['10', '-1', 'cat', '1,,2', '1.5', ''])
def test_wrong_labels_are_named(text):
  with pytest.raises(ValueError, match='whole numbers from 0 to 9, got'):
    conditions.read_labels(text, 10)


def test_prompts_of_a_file(tmp_path):
  file = tmp_path / 'prompts.txt'
  file.write_text('a red circle\n  a square \n')
  lines = conditions.read_prompts(None, str(file))
  assert lines == ['a red circle', 'a square']
  file.write_text('a red circle\n\na square\n')
  with pytest.raises(ValueError, match=r'prompts.txt line 2 is empty.*--scale'):
    conditions.read_prompts(None, str(file))
  file.write_text('')
  with pytest.raises(ValueError, match='is empty'):
    conditions.read_prompts(None, str(file))
  with pytest.raises(FileNotFoundError, match='no file of prompts'):
    conditions.read_prompts(None, str(tmp_path / 'nothing'))


def test_one_way_of_giving_prompts():
  with pytest.raises(ValueError, match='the prompt is empty'):
    conditions.read_prompts('  ', None)
  with pytest.raises(ValueError, match=r'give --prompt "..." or --prompts'):
    conditions.read_prompts(None, None)


def test_seeds():
  assert conditions.read_seeds(None, 7, 3) == 7
  np.testing.assert_array_equal(conditions.read_seeds('5,6', 0, 2), [5, 6])
  for wrong in ('1', '1,2,3', '1,x'):
    with pytest.raises(ValueError, match='--seeds needs 2 whole numbers'):
      conditions.read_seeds(wrong, 0, 2)


def test_a_prompt_that_is_cut_is_said(capsys):
  run = run_of(text='bytes')
  found = requested(run, prompt='a very long prompt indeed')
  assert 'reads 12 tokens, the prompt has 27' in capsys.readouterr().err
  assert rows(found)['cond']['tokens'].shape == (1, 12)
  assert found.cut == (1, 1, 12)
  requested(run, prompt='short')
  assert capsys.readouterr().err == ''


def test_cut_captions_are_counted_where_they_are_the_conditions():
  run = run_of(text='bytes')
  captions = Dataset(
    *('a', 'train', 'image', 4, (8, 8, 1), 10),
    lambda index: {},
    cut=Cut(1, 4, 12),
  )
  found = examples.Examples(captions, run.spec, {})
  cut = conditions.of_examples(run.config, run.model, found).cut
  described = job.described_cut(cut)
  assert described == {'conditions_truncated': dict(num=1, of=4, length=12)}
  (said,) = measuring.cut_warnings(described)
  assert said.startswith('1 of 4 texts are cut to the 12 tokens')
  assert job.described_cut(Cut(0, 4, 12)) == job.described_cut(None) == {}


def test_negative_prompts_and_none():
  run = run_of(text='bytes')
  null = lambda **request: rows(requested(run, **request))['null']['tokens']
  encode = prompts.make(run.config.condition, 'w').encode
  np.testing.assert_array_equal(null(prompt='red'), encode([''])['tokens'])
  np.testing.assert_array_equal(
    null(prompt='red', negative_prompt='blue'), encode(['blue'])['tokens']
  )


def test_what_a_model_does_not_take_is_refused():
  check = lambda flags, *runs: conditions.check_taken(runs, flags)
  with pytest.raises(ValueError, match=r'--prompt; it takes --label, --labels'):
    check(Flags(workdir='w', prompt='a'), run_of(label=True))
  with pytest.raises(ValueError, match='--labels; it takes no condition'):
    check(Flags(workdir='w', labels='1'), run_of())
  # Of a cascade, one stage that takes it is enough.
  check(Flags(workdir='w', labels='1'), run_of(label=True), run_of())


def test_classes_in_turn_without_labels():
  found = requested(run_of(label=True))
  np.testing.assert_array_equal(rows(found)['cond']['label'], range(10))
  np.testing.assert_array_equal(rows(found)['null']['label'], [10])
  assert found.names == [str(i) for i in range(10)]
  assert requested(run_of()) == conditions.NONE


def test_uniform_labels_are_those_of_a_model_of_labels_alone():
  found = conditions.uniform(run_of(label=True).model)
  np.testing.assert_array_equal(rows(found)['cond']['label'], range(10))
  with pytest.raises(ValueError, match='needs --num 10 or more, .* got 9'):
    conditions.uniform(run_of(label=True).model, 9)
  for run in (run_of(), run_of(label=True, text='bytes')):
    with pytest.raises(ValueError, match='uniform is for a model of labels'):
      conditions.uniform(run.model)


def test_a_step_and_a_width_are_of_the_workdir_and_not_of_its_base(monkeypatch):
  seen = []

  def load(workdir, flags):
    seen.append((workdir, flags.checkpoint, flags.average))
    return run_of()

  monkeypatch.setattr(from_flags, 'sketch_run', load)
  flags = Flags(
    workdir='w', base='b', checkpoint=3, base_checkpoint=2, ema_std=0.1
  )
  with pytest.raises(ValueError, match='enlarges nothing'):
    from_flags.make_job(flags, None)
  assert sorted(seen) == [('b', 2, True), ('w', 3, 0.1)]


def test_guidance_that_cannot_be_is_refused():
  configure = lambda run, **flags: flags_lib.configure(
    run.config, SamplerFlags(**flags)
  )
  without = run_of(scale=1.0, label=True, drop=0.0)
  for run, scale in ((run_of(label=True, drop=0.0), None), (without, 2.0)):
    with pytest.raises(ValueError, match='trained with condition.drop=0'):
      configure(run, scale=scale)
  configure(without)
  with pytest.raises(ValueError, match='with --scale 1 there is no guidance'):
    run = run_of(scale=1.0, text='bytes')
    requested(run, prompt='red', negative_prompt='blue')


def test_samples_are_told_apart_by_a_hash():
  run = run_of(text='bytes')
  of = lambda **request: runs.digest(rows(requested(run, **request)))
  assert of(prompt='red') == of(prompt='red')
  others = of(prompt='blue'), of(prompt='red', negative_prompt='a')
  assert len({of(prompt='red'), *others}) == 3


def test_stages_are_asked_for_equally_many_conditions():
  runs = [run_of(text='bytes'), run_of(label=True)]
  with pytest.raises(ValueError, match='asked for 1 and 10 conditions'):
    from_flags.condition_names(Flags(workdir='w', prompt='red'), runs)


def test_seeds_fit_an_integer():
  for wrong in (-1, 2**31):
    with pytest.raises(
      ValueError, match=r'--seed must be in \[0, 2147483647\]'
    ):
      Flags(workdir='w', seed=wrong)
  with pytest.raises(ValueError, match='below 2.31, got .3000000000'):
    conditions.read_seeds('3000000000', 0, 1)


def test_the_vocabulary_of_a_run_is_missed(tmp_path):
  with pytest.raises(FileNotFoundError, match='vocabulary of the run'):
    prompts.make(run_of(text='bpe').config.condition, tmp_path)


TWO = {'edit': 'interpolate', 'image': 'a.png', 'other': 'b.png'}


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ({'seed': 1, 'seeds': '2'}, 'give --seed or --seeds'),
    ({'label': 1, 'labels': '2'}, 'give --label or --labels'),
    ({'prompt': 'a', 'prompts': 'b'}, 'give --prompt or --prompts'),
    ({'infill': 'a', 'infills': 'b'}, 'give --infill or --infills'),
    ({'strength': 0.5}, '--strength needs --edit img2img'),
    ({'jump': 2, 'edit': 'img2img'}, '--jump needs --edit inpaint'),
    ({'other': 'a.png'}, '--other needs --edit interpolate'),
    ({'blank': '.'}, '--blank needs --infill'),
    ({'blank': '..', 'infill': 'a'}, '--blank must be one character'),
    ({**TWO, 'eta': 0.5}, 'interpolate has --sampler ddim'),
    ({**TWO, 'num': 1}, 'shows both ends'),
    ({**TWO, 'seed': 1}, '--seed has no effect'),
    ({**TWO, 'other': None}, '--edit interpolate needs --other'),
    ({'edit': 'inpaint', 'image': 'a.png'}, '--edit inpaint needs --mask'),
    ({'edit': 'img2img'}, '--edit img2img needs --image'),
    ({'base_checkpoint': 1}, '--base-checkpoint needs --base'),
    ({'ema': False, 'ema_std': 0.1}, 'give --no-ema or --ema-std'),
    ({'out': ''}, '--out is empty'),
    ({'num': 0}, '--num must be in'),
    ({'eta': 1.5}, r'--eta must be in \[0, 1\]'),
    ({'scale': float('nan')}, '--scale must be a finite number'),
    ({'temperature': 0.0}, '--temperature must be in'),
    ({'batch_size': 0}, '--batch-size must be in'),
    ({'steps': 0}, '--steps must be in'),
    ({'strength': -0.1}, r'--strength must be in'),
  ],
)
def test_flags_that_cannot_be_are_refused(flags, message):
  with pytest.raises(ValueError, match=message):
    Flags(workdir='w', **flags)


def test_previews_are_of_the_whole_set_in_pairs():
  """Previews of a set sorted by class show more than the first class."""
  config = run_of(label=True, low_res=4).config
  model = models.make(config, c.Spec('image', (8, 8, 1), 10, data={}))
  labels = np.repeat(np.arange(10), 100).astype(np.int32)
  x0 = np.broadcast_to(labels[:, None, None, None], (1000, 8, 8, 1))
  gather = lambda i: {'x0': x0[i].astype(np.uint8), 'label': labels[i]}
  dataset = Dataset('set', 'train', 'image', 1000, (8, 8, 1), 10, gather)
  found = examples.Examples(dataset, model.spec, {'label': np.int32(10)})
  cond = conditions.of_previews(config, model, found).options(np.arange(16))
  label, small = cond['cond']['label'], cond['cond']['low_res']
  assert len(set(label)) > 4 and small.shape == (16, 4, 4, 1)
  pixels = np.rint((small[:, 0, 0, 0] + 1) * 127.5)
  np.testing.assert_array_equal(pixels, label)


@pytest.mark.parametrize(
  'index',
  [
    np.arange(6),
    20 + np.arange(6),
    np.resize([18, 19, 20], 6),  # the last batch, filled up with copies
    np.resize([21, 18, 23], 6),  # what a stopped job has left of a batch
    np.resize([19], 6),
  ],
)
def test_a_sample_has_its_own_condition_whatever_batch_it_is_in(index):
  config = run_of(text='bytes').config
  model = models.make(config, c.Spec('image', (8, 8, 1), 10, (8, 8), data={}))
  tokens = np.repeat(np.arange(40)[:, None], 12, axis=1).astype(np.int32)
  gather = lambda i: {'tokens': tokens[i], 'x0': np.zeros((len(i), 8, 8, 1))}
  dataset = Dataset('set', 'train', 'image', 40, (8, 8, 1), 10, gather)
  null = {'tokens': np.zeros(12, np.int32)}
  found = examples.Examples(dataset, model.spec, null)
  source = conditions.of_examples(config, model, found)
  whole = conditioning.rows(
    source.options(np.arange(40))['cond'], np.arange(40)
  )
  table = source.options(index)['cond']
  assert len(table['tokens']) == len(index)  # nothing is compiled again
  selected = conditioning.rows(table, index)['tokens']
  np.testing.assert_array_equal(selected, whole['tokens'][index])


def test_samples_that_share_a_row_are_refused():
  run = run_of(text='bytes')
  source = conditions.prompted(run, ['a', 'b', 'c'])
  with pytest.raises(ValueError, match='a multiple of 4 apart'):
    source.options(np.array([0, 1, 2, 4]))
