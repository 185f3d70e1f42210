"""`python -m jaxdiff.classifier train digits`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from jaxdiff import classifier, data, parallel
from jaxdiff.networks.classifier import Classifier


@dataclass(frozen=True)
class Train:
  """Train a classifier on the train split of DATASET, and test it."""

  # digits, tfds:NAME, folder:PATH with train/CLASS/ and test/CLASS/
  dataset: Annotated[str, tyro.conf.Positional]
  workdir: str | None = None  # None: runs/classifier_NAME
  num_steps: int = 1000
  batch_size: int = 128
  learning_rate: float = 3e-3
  width: int = 32  # channels of the first convolutions
  shift: int = 1  # pixels that images are moved by at random
  seed: int = 0
  image_size: int | None = None  # of data.load
  data_dir: str | None = None
  mode: Literal['jit', 'pmap'] = 'jit'

  def run(self) -> Path:
    name = self.dataset.rstrip('/').split(':')[-1].replace('/', '_')
    workdir = Path(self.workdir or f'runs/classifier_{name}')
    classifier.check_free(workdir)
    sets = [
      data.load(self.dataset, split, self.image_size, self.data_dir)
      for split in ('train', 'test')
    ]
    for dataset in sets:
      classifier.check_labels(dataset)
    train, test = sets
    network = Classifier(train.num_classes, self.width)
    params = classifier.fit(
      train,
      network,
      parallel.make_mesh(devices=jax.local_devices()),
      num_steps=self.num_steps,
      batch_size=self.batch_size,
      learning_rate=self.learning_rate,
      shift=self.shift,
      seed=self.seed,
      mode=self.mode,
    )
    share = classifier.accuracy(network, params, test)
    about = classifier.About(
      self.dataset,
      tuple(train.shape),
      train.num_classes,
      self.width,
      self.seed,
      self.num_steps,
      share,
      len(test),
    )
    sha256 = classifier.save(workdir, params, about)
    print(
      f'test accuracy {100 * share:.2f} % of {len(test)} images, weights '
      f'{sha256[:12]}\n{workdir}: --features classifier:{workdir}'
    )
    return workdir


def main(argv: list[str] | None = None) -> None:
  command = tyro.extras.subcommand_cli_from_dict({'train': Train}, args=argv)
  try:
    parallel.start()
    command.run()
  except (ValueError, OSError) as error:
    sys.exit(f'jaxdiff.classifier: {error}')


if __name__ == '__main__':
  main()
