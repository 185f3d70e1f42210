"""Files of the Hub, found in a cache of its library; there is no network."""

import fnmatch
import subprocess
import sys
from functools import partial

import pytest
import tiny_dino

from jaxdiff import hub
from jaxdiff.models.clip_prompts import clip_prompts
from jaxdiff.models.t5_prompts import t5_prompts
from jaxdiff.pretrained.autoencoder_weights import load_autoencoder
from jaxdiff.pretrained.clip_folder import read_clip
from jaxdiff.pretrained.clip_weights import load_clip, load_clip_text
from jaxdiff.pretrained.dinov2_weights import load_dinov2
from jaxdiff.pretrained.inception_weights import load_inception
from jaxdiff.pretrained.t5_weights import load_t5
from jaxdiff.runs import exports, published
from jaxdiff.tokenizer_files import read_library
from jaxdiff.tokenizers import clip_tokenizer

REVISION = '0' * 40
LOADERS = [
  clip_prompts,
  clip_tokenizer,
  load_autoencoder,
  load_clip,
  load_clip_text,
  load_dinov2,
  load_inception,
  load_t5,
  read_clip,
  read_library,
  partial(exports.load, workdir='run'),
  partial(published.read, workdir='run'),
  partial(t5_prompts, length=8),
]


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """A cache with the repository lab/net, as huggingface_hub lays it out."""
  constants = pytest.importorskip('huggingface_hub.constants')
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  root = tmp_path / 'models--lab--net'
  (root / 'refs').mkdir(parents=True)
  (root / 'refs' / 'main').write_text(REVISION)
  blobs = tiny_dino.save(root / 'blobs')
  snapshot = root / 'snapshots' / REVISION
  for folder in (snapshot, snapshot / 'part'):
    folder.mkdir(parents=True)
    for blob in blobs.iterdir():
      (folder / blob.name).symlink_to(blob)
  return snapshot


def test_files_and_folders(cache):
  found = hub.local_path
  assert found('hf://lab/net') == cache
  assert found('hf://lab/net/') == cache
  assert found('hf://lab/net/part') == cache / 'part'
  assert found('hf://lab/net@main/part/config.json').parent == cache / 'part'
  assert found(f'hf://lab/net@{REVISION}') == cache
  here = load_dinov2(cache)
  for path in ('hf://lab/net', 'hf://lab/net/part/model.safetensors'):
    there = load_dinov2(path)
    assert (there.network, there.sha256) == (here.network, here.sha256)


def test_a_tokenizer_comes_with_its_folder(cache, monkeypatch):
  huggingface_hub, patterns = pytest.importorskip('huggingface_hub'), []

  def fetch(repository, revision, allow_patterns):
    patterns.extend(allow_patterns)
    return cache

  monkeypatch.setattr(huggingface_hub, 'snapshot_download', fetch)
  hub.local_path('hf://lab/net/part')
  for name in ('tokenizer.json', 'merges.txt', 'spiece.model'):
    assert any(fnmatch.fnmatch(f'part/{name}', x) for x in patterns)
  (cache / 'spiece.model').touch()
  assert hub.local_path('hf://lab/net/spiece.model') == cache / 'spiece.model'


@pytest.mark.parametrize('load', LOADERS)
def test_every_reader_of_weights_asks_the_cache(load, cache):
  with pytest.raises(OSError, match='not in the cache of the Hub, .*OFFLINE'):
    load('hf://lab/other/model.safetensors')


@pytest.mark.parametrize(
  'path, message',
  [
    ('hf://', 'must be hf://owner/name'),
    ('hf://lab', 'must be hf://owner/name'),
    ('hf://lab/', 'must be hf://owner/name'),
    ('hf://lab//net', 'must be hf://owner/name'),
    ('hf://lab/net/../../x', 'must be hf://owner/name'),
    ('hf://../net', 'must be hf://owner/name'),
    ('hf://lab/net@', 'must be hf://owner/name'),
    ('hf://lab/net/a b', 'must be hf://owner/name'),
    ('hf://lab/--net', 'is not on the Hub'),
    ('hf://lab/net/absent', 'no such folder'),
    ('hf://lab/net/absent.json', 'not in the cache'),
    ('hf://lab/net@v2', 'not in the cache'),
  ],
)
def test_what_is_wrong_is_said_in_one_line(path, message, cache):
  with pytest.raises((ValueError, OSError), match=message) as caught:
    hub.local_path(path)
  assert '\n' not in str(caught.value)


def test_without_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(ValueError, match=r"pip install 'jaxdiff\[hub\]'"):
    hub.local_path('hf://lab/net')


def test_local_paths_do_not_import_it(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert hub.local_path('~/a') == tmp_path / 'a'
  assert hub.local_path(tmp_path / 'hf:' / 'x') == tmp_path / 'hf:' / 'x'
  code = 'import sys, jaxdiff.hub; print("huggingface_hub" in sys.modules)'
  command = [sys.executable, '-c', code]
  out = subprocess.run(command, capture_output=True, text=True, check=True)
  assert out.stdout == 'False\n'
