"""Films of samples on their way from noise to data."""

import numpy as np
import pytest
from PIL import Image

from jaxdiff import modalities
from jaxdiff.config import Spec
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.sampler import Samples
from jaxdiff.modalities import pictures

GRAPH = Spec('graph', (3,), categories={'nodes': 2, 'edges': 2})
RNG = np.random.default_rng(0)
EDGES = np.broadcast_to(1 - np.eye(3, dtype=int), (2, 5, 3, 3))
WAYS = {
  'image': (Spec('image', (4, 4, 3)), RNG.uniform(-1, 1, (2, 5, 4, 4, 3))),
  'points': (Spec('points', (2,)), RNG.normal(size=(20, 5, 2))),
  'text': (
    Spec('text', (4,), categories=3, symbols=('a', 'b', 'c')),
    np.sort(RNG.integers(0, 4, (2, 5, 4)), axis=1)[:, ::-1],
  ),
  'graph': (
    GRAPH,
    {
      'nodes': RNG.integers(0, 2, (2, 5, 3)),
      'edges': EDGES * np.arange(5)[:, None, None] // 4,
    },
  ),
}


@pytest.mark.parametrize('name', WAYS)
def test_frames_have_one_size_and_end_with_the_samples(name):
  spec, x = WAYS[name]
  modality = modalities.make(spec)
  frames = modality.frames(Samples(x), 3)
  assert len(frames) == 3
  assert {f.shape for f in frames} == {frames[0].shape}
  assert {f.dtype for f in frames} == {np.dtype(np.uint8)}
  assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50
  if name == 'text':
    return  # the page is as large as the largest of its film
  end = lambda x: x[:, -1:]
  x = {k: end(v) for k, v in x.items()} if name == 'graph' else end(x)
  (last,) = modality.frames(Samples(x), 9)
  np.testing.assert_array_equal(last, frames[-1])


@pytest.mark.parametrize('ending', ['gif', 'webp'])
def test_a_film_is_written_with_its_times(ending, tmp_path):
  frames = [np.full((6, 8, 1), v, np.uint8) for v in (0, 128, 255)]
  path = tmp_path / f'film.{ending}'
  pictures.save_film(frames, path, seconds=3.0)
  film = Image.open(path)
  assert film.n_frames == 3 and film.size == (8, 6)
  for i, (value, milliseconds) in enumerate(
    [(0, 1000), (128, 1000), (255, 1500)]
  ):
    film.seek(i)
    film.load()
    assert abs(int(np.asarray(film.convert('L'))[0, 0]) - value) < 4
    assert film.info['duration'] == milliseconds


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ({'animate': 'a.mp4'}, r'must end in \.gif or \.webp'),
    ({'animate': 'a.gif', 'base': 'b'}, '--animate is not for --base'),
    (
      {'animate': 'a.gif', 'edit': 'img2img', 'image': 'a'},
      '--animate is not for --edit',
    ),
  ],
)
def test_films_that_cannot_be_are_refused(flags, message):
  with pytest.raises(ValueError, match=message):
    Flags(workdir='w', **flags).check()
