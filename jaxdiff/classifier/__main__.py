"""The command `python -m jaxdiff.classifier train digits`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxdiff import files, malloc

if __name__ == '__main__':
  malloc.relaunch()  # before the second that importing jax takes

import tyro

from jaxdiff import config as c
from jaxdiff import models, parallel, scripts, training
from jaxdiff.classifier.report import Accuracy
from jaxdiff.config.ranges import Count, In, Rate, Seed, Size
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import examples, loop


@dataclass(frozen=True)
class Train(c.Section):
  """Train a classifier on the train split of DATASET, and test it.

  The same command in the same workdir continues where it was.
  """

  # digits, tfds:NAME, folder:PATH with train/CLASS/ and test/CLASS/
  dataset: Annotated[str, tyro.conf.Positional]
  workdir: str | None = None  # None: runs/classifier_NAME
  num_steps: Count = 1000
  batch_size: Annotated[int, In('[1, 1048576]')] = 128
  learning_rate: Rate = 3e-3
  width: Size = 32  # channels of the first convolutions
  shift: Annotated[int, In('[0, 64]')] = (
    1  # pixels by which images are moved at random
  )
  seed: Seed = 0
  image_size: Size | None = None
  data_dir: str | None = None
  mode: Literal['jit', 'pmap'] = 'jit'

  def config(self) -> c.Config:
    """Returns the configuration of the run."""
    name = self.dataset.rstrip('/').split(':')[-1].replace('/', '_')
    return c.Config(
      workdir=self.workdir or f'runs/classifier_{name}',
      seed=self.seed,
      data=c.Data(
        name=self.dataset, image_size=self.image_size, data_dir=self.data_dir
      ),
      diffusion=c.Classification(shift=self.shift),
      network=c.ConvNet(width=self.width),
      optimizer=c.Optimizer(
        name='adamw',
        learning_rate=self.learning_rate,
        schedule='cosine',
        clip_norm=None,
        weight_decay=1e-2,
      ),
      training=c.Training(
        num_steps=self.num_steps, batch_size=self.batch_size, ema_decay=0.99
      ),
      parallel=c.Parallel(mode=self.mode),
    )

  def run(self) -> Path:
    """Trains and tests the classifier; returns its workdir."""
    config = self.config()
    files.check_target(config.workdir, folder=True)
    data = examples.load(config, config.workdir, training=True)
    model = models.make(config, data.spec)
    optimizer = optimizers.make(config.optimizer, self.num_steps)
    decay = config.training.ema_decay
    task = training.make_task(model.init, model.loss, optimizer, decay=decay)
    accuracy = Accuracy(config, model)
    if parallel.is_primary():
      print(f'{config.workdir}: {data.dataset.summary()}')
    reports = [loop.Report(config.training.preview_every, accuracy.save)]
    described = c.describe(config, data.spec)
    params = loop.fit(config, task, data.dataset, described, reports)
    if parallel.is_primary():
      print(accuracy.finish(params))
    return files.as_path(config.workdir)


COMMANDS = {'train': Train}


def main(argv: list[str] | None = None) -> None:
  with scripts.ending('jaxdiff.classifier') as parsed:
    command = parsed(c.parse_flags(COMMANDS, argv))
    parallel.start()
    command.run()


if __name__ == '__main__':
  scripts.run(main)
