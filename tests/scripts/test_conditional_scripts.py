"""train.py on captions, and sample.py asked for them, as a person runs both."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample
import train

ROOT = Path(__file__).parents[2]
COLOURS = {'a red square': 'red', 'a blue square': 'blue'}
FLAGS = (
  '--network.kind dit --network.dit.width 8 --network.dit.depth 1 '
  '--network.dit.num-heads 2 '
  '--training.num-steps 4 --training.batch-size 8 --training.log-every 2 '
  '--training.preview-every 4 --sampling.steps 2 --sampling.num 4 '
  '--optimizer.warmup-steps 1 --condition.text bpe --condition.length 8 '
  '--condition.vocab-size 262 --condition.width 8 --condition.depth 1'
).split()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp('set')
  captions = {}
  for caption, colour in COLOURS.items():
    for i in range(4):
      name = f'{colour}{i}.png'
      Image.new('RGB', (8, 8), colour).save(folder / name)
      captions[name] = caption
  (folder / 'captions.json').write_text(json.dumps(captions))
  workdir = tmp_path_factory.mktemp('run') / 'text'
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    args = ['--data.name', f'folder:{folder}', '--workdir', str(workdir)]
    train.main([*FLAGS, *args])
  return workdir


def draw(workdir, *args):
  sample.main([str(workdir), '--steps', '2', *map(str, args)])


def test_a_run_keeps_its_vocabulary_and_previews(finished):
  assert 'merges' in (finished / 'tokenizer.json').read_text()
  assert np.asarray(Image.open(finished / 'samples/0000004.png')).std() > 0
  saved = json.loads((finished / 'config.json').read_text())
  known = {k: v for k, v in saved['spec'].items() if v is not None}
  known.pop('data')  # the digest
  assert known == {
    'modality': 'image',
    'shape': [8, 8, 3],
    'text_dims': [8, 8],
  }


def test_prompts_of_a_file_make_a_labelled_grid(finished, tmp_path):
  prompts = tmp_path / 'prompts.txt'
  prompts.write_text('a red square\na blue square\n')
  out = tmp_path / 'grid.png'
  flags = ('--prompts', prompts, '--scale', 3, '--seeds', '4,5', '--num', 4)
  draw(finished, *flags, '--out', out)
  grid = np.asarray(Image.open(out))
  plain = 4 * 8 + 5
  assert grid.shape[1] > plain and grid.shape[2] == 3
  with pytest.raises(SystemExit, match='--num 1 would leave out 1 of the 2'):
    draw(finished, '--prompts', prompts, '--num', 1)
  metadata = json.loads((tmp_path / 'grid.png.json').read_text())
  # 'a blue square' is cut where byte pairs have not joined it to 8.
  assert metadata['conditions_truncated']['of'] == 2
  assert metadata['conditions'] == ['a red square', 'a blue square']
  assert metadata['scale'] == 3 and metadata['seed'] == '4,5'


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    ((), r'give --prompt "..." or --prompts'),
    (('--prompt', ' '), 'the prompt is empty'),
    (('--label', 1), 'not trained on --label; it takes --prompt'),
    (('--prompt', 'a', '--seeds', '1,2'), 'needs 1 whole numbers'),
    (('--prompt', 'a', '--base', 'x'), 'x holds no run'),
  ],
)
def test_what_cannot_be_drawn(finished, args, message):
  with pytest.raises(SystemExit, match=message):
    draw(finished, *args)
