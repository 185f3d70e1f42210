"""Command `reconstruction`: an autoencoder's PSNR, SSIM, rFD, used codes."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from jaxdiff import data, files, runs
from jaxdiff.config import Section
from jaxdiff.evaluation import measuring, reconstructions
from jaxdiff.evaluation.flags import MACHINE, Against, Flat, Num, Running
from jaxdiff.evaluation.metrics import number
from jaxdiff.generation import reconstructions as pictures
from jaxdiff.generation.flags import Checkpoint, suffix
from jaxdiff.runs import examples, results


@dataclass(frozen=True)
class Reconstruction(Section):
  """Reconstructions of held-out images by the autoencoder of a WORKDIR.

  PSNR, SSIM, the fraction of a codebook's codes that occur, and with --features
  the Frechet distance from the images themselves, rFD. Draws some of them.
  """

  workdir: Annotated[str, tyro.conf.Positional] = field(kw_only=True)
  checkpoint: Checkpoint | None = None  # a step; None: the newest
  ema: bool = True  # the averaged weights
  split: str | None = None  # None: test, or train where there is no other
  num: Num | None = None  # a random subset; None: the whole split
  # inception:FILE, dinov2:PATH, clip:FOLDER, classifier:WORKDIR; () is no rFD.
  features: tuple[str, ...] = ()
  weights: str | None = None  # of inception: the published file
  resize: str | None = None  # pytorch-fid, tf1, torchmetrics, clean, ...
  cache: str | None = None  # folder of the statistics of references
  data_name: str | None = None  # where the data of the run are now
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def check(self) -> None:
    super().check()
    if not self.features and (self.weights or self.resize or self.cache):
      raise ValueError('--weights, --resize and --cache are of --features')

  def run(self) -> dict[str, Any]:
    """Measures the reconstructions and writes the result."""
    machine = measuring.machine(self.running)
    run = runs.load(
      self.workdir, machine.mesh, checkpoint=self.checkpoint, ema=self.ema
    )
    if run.model.reconstruct is None:
      raise ValueError(f'{self.workdir} holds no autoencoder')
    run = run._replace(config=examples.moved(run.config, self.data_name))
    dataset = reconstructions.images_of(run, self.split)
    if self.num is not None:
      dataset = data.subset(dataset, self.num)
    name = f'reconstruction_step{run.step}'
    name += suffix(self, 'workdir', 'checkpoint', 'cache', *MACHINE)
    path = run.workdir / 'evaluation' / f'{name}.json'
    files.check_target(path)
    found: dict[str, Any] = {'metrics': {}}
    if self.features:
      against = Against(
        features=self.features,
        weights=self.weights,
        resize=self.resize,
        cache=self.cache,
      )
      comparison = measuring.compare_with(dataset, against, machine)
      reconstruct = reconstructions.compiled(run.model, machine)
      found = reconstructions.distances(
        comparison, reconstruct, run.params, dataset
      )
    drawn = path.with_suffix('.png')
    quality = pictures.measure(
      pictures.compiled(run.model), run.params, dataset, run.config, drawn
    )
    found['metrics'] = {
      **{name: {'value': value} for name, value in quality.items()},
      **found['metrics'],
    }
    result = {
      'workdir': self.workdir,
      'checkpoint_step': run.step,
      'ema': self.ema,
      'params_sha256': runs.digest(run.params),
      'config_sha256': results.config_sha256(run.workdir),
      'split': dataset.split,
      'datasets': results.of_data(dataset),
      **found,
    }
    text = '\n'.join(
      f'{name:12} {number(x["value"])}' for name, x in found['metrics'].items()
    )
    return results.save(path, result, f'{text}\n{drawn}')
