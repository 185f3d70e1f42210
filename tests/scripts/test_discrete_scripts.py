"""train.py, sample.py and the evaluation on text and on graphs, as typed."""

import json

import numpy as np
import pytest
from PIL import Image

import sample
import train
from jaxdiff.data.sets.sums import is_sum
from jaxdiff.evaluation import __main__ as evaluation
from jaxdiff.evaluation.commands import text as command

SMALL = """
  --training.num-steps 6 --training.batch-size 16 --training.log-every 2
  --training.preview-every 6 --checkpoint.every 3 --optimizer.warmup-steps 1
  --sampling.steps 3 --sampling.num 4
""".split()


def run(workdir, config, flags):
  train.main(
    ['--config', config, '--workdir', str(workdir), *SMALL, *flags.split()]
  )
  return workdir


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  return run(
    tmp_path_factory.mktemp('text'),
    'configs/sums.py',
    '--network.transformer.width 8 --network.transformer.depth 1 '
    '--network.transformer.num-heads 2',
  )


@pytest.fixture(scope='module')
def graphs(tmp_path_factory):
  return run(
    tmp_path_factory.mktemp('graphs'),
    'configs/community_small.py',
    '--network.graph-transformer.width 8 --network.graph-transformer.depth 1 '
    '--network.graph-transformer.edge-width 8 '
    '--network.graph-transformer.global-width 8',
  )


def drawn(workdir, out, *flags):
  sample.main([str(workdir), '--out', str(out), *flags])
  return out


def test_a_run_of_text_leaves_text(text):
  (preview,) = (text / 'samples').iterdir()
  lines = preview.read_text().splitlines()
  assert len(lines) == 4 and {len(line) for line in lines} == {11}
  way = (text / 'denoising.txt').read_text().split('\n\n')[0].splitlines()
  assert way[0] == '_' * 11 and '_' not in way[-1]
  # The question first, its answer after it.
  assert '_' not in way[3][:8] and way[3][8:] == '___'


def test_infills_and_shows(text, tmp_path, capsys):
  film = tmp_path / 'film.gif'
  flags = ('--infill', '12_+___=579', '--num', '3', '--show')
  flags += ('--animate', str(film))
  out = drawn(text, tmp_path / 'a.json', *flags)
  written = json.loads(out.read_text())
  assert len(written) == 3
  for line in written:
    assert line[:2] == '12' and line[3] == '+' and line[7:] == '=579'
  shown = capsys.readouterr().out
  assert '12_+___=579' in shown and written[0] in shown
  assert Image.open(film).n_frames > 1


@pytest.mark.slow
def test_text_is_the_same_on_eight_devices(text, tmp_path):
  flags = ('--num', '8', '--mode')
  one = drawn(text, tmp_path / 'a.txt', *flags, 'jit')
  many = drawn(text, tmp_path / 'b.txt', *flags, 'pmap', '--batch-size', '24')
  assert one.read_text() == many.read_text()


@pytest.mark.parametrize(
  'flags, message',
  [
    ('--infill 12x', r"outside the vocabulary: \['x'\]"),
    ('--eta 0.5', '--eta is for real numbers'),
    ('--edit img2img --image a.png', '--edit is not for'),
    ('--out a.png', r'must end in .txt or .json'),
    ('--block 0', '--block must be in'),
    ('--temperature 0', '--temperature must be in'),
    ('--infill 1 --seeds 1,2', 'needs 1 whole numbers'),
    ('--sampler ddim', '--sampler must be one of'),
  ],
)
def test_what_text_cannot_be_asked_for(text, flags, message):
  with pytest.raises(SystemExit, match=message):
    sample.main([str(text), *flags.split()])


def test_a_run_that_writes_in_blocks_ends_as_any_other(text):
  flags = (
    '--network.transformer.width 8 --network.transformer.depth 1 '
    '--network.transformer.num-heads 2 --sampling.block 4'
  )
  (text / 'loss.png').unlink()
  run(text, 'configs/sums.py', flags)
  assert (text / 'loss.png').exists()


def test_what_text_and_images_are_not_measured_by(text, graphs):
  with pytest.raises(SystemExit, match='holds a model of sums'):
    evaluation.main(['graphs', str(text)])
  with pytest.raises(SystemExit, match='holds a model of community_small'):
    evaluation.main(['text', str(graphs)])
  with pytest.raises(SystemExit, match='draws no images'):
    evaluation.main(
      ['fid', '--samples', str(text), '--features', 'clip:nowhere']
    )


def test_text_is_measured(text, monkeypatch):
  # Of a network that has not learned to add, every other result made right.
  read = command.read_texts

  def read_texts(path):
    lines = read(path)
    if not path.name.startswith('infilled'):
      return lines
    right = lambda line: f'{line[:8]}{int(line[:3]) + int(line[4:7]):03d}'
    return [right(line) if i % 2 else 'x' for i, line in enumerate(lines)]

  monkeypatch.setattr(command, 'read_texts', read_texts)
  with pytest.raises(SystemExit, match='--infills must be at most'):
    evaluation.main(['text', str(text), '--infills', '9999999'])
  evaluation.main(['text', str(text), '--num', '8', '--infills', '4'])
  (file,) = (text / 'evaluation').glob('*.metrics.json')
  found = json.loads(file.read_text())
  (written,) = (text / 'evaluation').glob('text_8_*step6.json')
  lines = json.loads(written.read_text())
  right = sum(map(is_sum, lines)) / 8
  assert found['metrics']['correct'] == right
  assert found['metrics']['infilled'] == 0.5
  assert found['checkpoint_step'] == 6 and found['num_samples'] == 8
  # Kept: the same job is not drawn again, another is.
  before = written.stat().st_mtime_ns
  evaluation.main(['text', str(text), '--num', '8', '--infills', '4'])
  assert written.stat().st_mtime_ns == before
  cold = ['--num', '8', '--infills', '0', '--temperature', '0.5']
  evaluation.main(['text', str(text), *cold])
  assert len(list((text / 'evaluation').glob('text_8_*.metrics.json'))) == 2


def test_bits_per_character(text, capsys):
  flags = '--num 32 --steps 8 --num-terms 2 --batch-size 16'.split()
  evaluation.main(['likelihood', str(text), *flags])
  assert 'bits per character of 32 examples' in capsys.readouterr().out
  report = json.loads((text / 'likelihood.json').read_text())
  assert report['num_elements'] == 32 * 11
  # Six steps have hardly begun: every one of twelve characters may follow.
  assert abs(report['continuous'][0] - np.log2(12)) < 0.6


def test_a_run_of_graphs_is_drawn_and_measured(graphs, tmp_path):
  assert (graphs / 'denoising.png').stat().st_size > 1000
  out = drawn(graphs, tmp_path / 'a.npz', '--num', '5')
  arrays = np.load(out)
  assert arrays['edges'].shape[0] == 5
  assert (arrays['size'] >= 12).all() and (arrays['size'] <= 20).all()
  evaluation.main(['graphs', str(graphs), '--num', '5'])
  (file,) = (graphs / 'evaluation').glob('*.metrics.json')
  found = json.loads(file.read_text())['metrics']
  assert found['degree'] > 0 and found['degree_floor'] > 0
  assert found['num_samples'] == 5
