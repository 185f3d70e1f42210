"""Caption accuracy of a captioned_shapes run against the guidance scale.

  python -m benchmarks.alignment runs/captioned_shapes

Draws an image for each of `num` captions of two splits: `seen`, new scenes of
combinations in the training set, and `test`, each with a colour and a shape
that are never combined there. `benchmarks.scene_scores` compares colour, shape,
size and relation with the caption. Writes WORKDIR/alignment.json, a plot and
labelled grids. Prints a table, and the name of that file last.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure

from benchmarks import scene_scores
from jaxdiff import data, parallel, runs, scripts
from jaxdiff.config import Section, parse_flags
from jaxdiff.config.ranges import Count, NotNegative, Seed, Steps
from jaxdiff.generation.conditions import prompted
from jaxdiff.generation.flags import SamplerFlags
from jaxdiff.generation.job import job_of_run, load_run
from jaxdiff.modalities import pictures

NAMES = ('colour', 'shape', 'size', 'relation', 'number', 'caption')


@dataclasses.dataclass(frozen=True)
class Options(Section):
  """Scores the scenes of a run against their captions."""

  workdir: tyro.conf.Positional[str]
  num: Count = 500  # of each split
  scales: tuple[NotNegative, ...] = (1.0, 2.0, 4.0)
  splits: tuple[str, ...] = ('seen', 'test')
  sampler: str | None = None
  steps: Steps | None = None
  seed: Seed = 0
  batch_size: Count = 100


def main(options: Options) -> None:
  parallel.start()
  workdir = Path(options.workdir)
  config, _ = runs.read_config(workdir)
  mesh, draw = parallel.local_mesh(), None
  batch_size = parallel.batch_size(options.num, options.batch_size, mesh)
  if config.data.name != 'captioned_shapes':
    raise ValueError(f'{workdir} is a run of {config.data.name}')
  size = config.data.image_size
  datasets = {
    split: data.load(config.data.name, split, image_size=size)
    for split in options.splits
  }
  results: dict[str, dict[str, dict[str, float]]] = {}
  for split, dataset in datasets.items():
    dataset = data.subset(dataset, options.num)
    arrays = dataset.gather(np.arange(options.num))
    captions = list(arrays['caption'])
    real = scene_scores.accuracy(scene_scores.score(arrays['x0'], captions))
    results[split] = {'real': real}
    for scale in options.scales:
      out = workdir / 'alignment' / f'{split}_{scale:g}.npz'
      flags = SamplerFlags(
        scale=scale, sampler=options.sampler, steps=options.steps
      )
      run = load_run(workdir, flags, mesh)
      job = job_of_run(
        run,
        mesh,
        prompted(run, captions),
        num=len(captions),
        seed=options.seed,
        draw=draw,
      )
      draw = job.draw
      job.write(out, batch_size, f'{split}, scale {scale:g}')
      images = np.load(out)['arr_0']
      score = scene_scores.score(images, captions)
      results[split][f'{scale:g}'] = scene_scores.accuracy(score)
      shown = pictures.labelled_grid(images[:10], captions[:10])
      pictures.save_png(shown, out.with_suffix('.png'))
  described = {**dataclasses.asdict(options), 'results': results}
  path = workdir / 'alignment.json'
  path.write_text(json.dumps(described, indent=2) + '\n')
  plot(results, workdir / 'alignment.png')
  print('| captions | scale | ' + ' | '.join(NAMES) + ' |')
  print('|---' * (len(NAMES) + 2) + '|')
  for split, rows in results.items():
    for scale, row in rows.items():
      values = ' | '.join(f'{100 * row[name]:.1f}' for name in NAMES)
      print(f'| {split} | {scale} | {values} |')
  print(path)


def plot(results: dict, path: Path) -> None:
  """Draws accuracy against scale, a panel for each split."""
  figure = Figure(figsize=(5 * len(results), 3.6), layout='constrained')
  panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
  for axes, (split, rows) in zip(panels, results.items(), strict=True):
    scales = [scale for scale in rows if scale != 'real']
    for name in NAMES:
      values = [100 * rows[scale][name] for scale in scales]
      axes.plot(list(map(float, scales)), values, 'o-', ms=3, label=name)
    axes.set(title=f'{split} combinations', xlabel='guidance scale')
    axes.grid(alpha=0.3)
  panels[0].set_ylabel('right, %')
  panels[0].legend(frameon=False, fontsize=8)
  figure.savefig(path, dpi=120)


if __name__ == '__main__':
  with scripts.ending('benchmarks.alignment'):
    main(parse_flags(Options))
