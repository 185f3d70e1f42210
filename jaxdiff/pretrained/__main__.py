"""Published models as runs, and runs as files: `python -m jaxdiff.pretrained`.

import           a published model, or an exported run, as a run
export           the weights of a run as safetensors
export-lora      the factors of a run with --lora.rank
export-sampler   the sampler of a run by jax.export, and its weights
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from jaxdiff import malloc

if __name__ == '__main__':
  malloc.relaunch()  # before the second that importing jax takes

import tyro

from jaxdiff import config as c
from jaxdiff import files, hub, models, parallel, runs, scripts
from jaxdiff.config.ranges import In, Seed, Size
from jaxdiff.generation import exported
from jaxdiff.generation.flags import Flags, SamplerFlags, changed
from jaxdiff.generation.from_flags import make_job
from jaxdiff.pretrained import lora_weights
from jaxdiff.runs import exports, published


@dataclass(frozen=True)
class Import(c.Section):
  """Make a run of SOURCE in WORKDIR, from which sample.py draws.

  SOURCE is a folder in the layout of google/ddpm-cifar10-32, a file of the
  original DiT or of EDM, or one that `export` wrote; also hf://owner/name.
  """

  source: Annotated[str, tyro.conf.Positional]
  workdir: Annotated[str, tyro.conf.Positional]
  data: str = 'none'  # the data set it was trained on, for evaluation
  autoencoder: str | None = None  # of a DiT: a folder, a workdir, hf://
  num_heads: Size | None = None  # of a DiT that is none of S, B, L and XL

  def run(self) -> None:
    path = hub.local_path(self.source)
    if exports.is_exported(path):
      if changed(self, 'source', 'workdir'):
        raise ValueError(f'{self.source} is of a run: give no further flags')
      found = exports.load(path, self.workdir)
    else:
      found = published.read(
        path,
        self.workdir,
        data=self.data,
        autoencoder=self.autoencoder,
        num_heads=self.num_heads,
      )
    published.save(found)
    print(f'{self.source} is now {self.workdir}')


@dataclass(frozen=True)
class Export(c.Section):
  """Write the weights of WORKDIR to OUT.safetensors, and OUT.json."""

  workdir: Annotated[str, tyro.conf.Positional]
  out: Annotated[str, tyro.conf.Positional]
  checkpoint: Annotated[int, In('[0, 2147483647]')] | None = None  # a step
  ema: bool = True  # the averaged weights

  def run(self) -> None:
    exports.check(self.out)
    mesh = parallel.local_mesh()
    run = runs.load(
      self.workdir, mesh, checkpoint=self.checkpoint, ema=self.ema
    )
    exports.save(run, self.out)
    print(f'{self.out}: weights of {self.workdir}, step {run.step}')


@dataclass(frozen=True)
class ExportLora(c.Section):
  """Write the factors of WORKDIR to OUT, a pytorch_lora_weights.safetensors."""

  workdir: Annotated[str, tyro.conf.Positional]
  out: Annotated[str, tyro.conf.Positional]
  checkpoint: Annotated[int, In('[0, 2147483647]')] | None = None  # a step
  ema: bool = True  # the averaged factors

  def run(self) -> None:
    files.check_target(self.out)
    run = runs.load(
      self.workdir,
      parallel.local_mesh(),
      checkpoint=self.checkpoint,
      ema=self.ema,
      lora_scale=None,
    )
    if run.config.lora.rank is None:
      raise ValueError(f'{self.workdir} was trained without --lora.rank')
    levels = len(getattr(run.config.network, 'channel_mults', ()))
    scale = models.lora_scale(run.config)
    lora_weights.save(self.out, run.params, levels, scale)
    print(f'{self.out}: factors of {self.workdir}, step {run.step}')


@dataclass(frozen=True)
class ExportSampler(SamplerFlags):
  """Write the sampler of WORKDIR to OUT.jaxexport, and OUT.safetensors."""

  workdir: Annotated[str, tyro.conf.Positional] = dataclasses.field(
    kw_only=True
  )
  out: Annotated[str, tyro.conf.Positional] = dataclasses.field(kw_only=True)
  batch_size: Annotated[int, In('[1, 1048576]')] = 4
  seed: Seed = 0
  labels: str | None = None  # 0,1,2
  prompt: str | None = None
  negative_prompt: str | None = None

  def run(self) -> None:
    own = {x.name: getattr(self, x.name) for x in dataclasses.fields(self)}
    out = own.pop('out')
    exported.check(out)
    job = make_job(Flags(**own), parallel.local_mesh())
    weights = exported.save(job, out, self.batch_size)
    print(f'{out}: the sampler of {self.workdir}; its arrays: {weights}')


COMMANDS = {
  'import': Import,
  'export': Export,
  'export-lora': ExportLora,
  'export-sampler': ExportSampler,
}


def main(argv: list[str] | None = None) -> None:
  with scripts.ending('jaxdiff.pretrained') as parsed:
    command = parsed(c.parse_flags(COMMANDS, argv))
    parallel.start()
    command.run()


if __name__ == '__main__':
  scripts.run(main)
