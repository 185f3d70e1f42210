"""Evaluation of trained models: `python -m jaxdiff.evaluation --help`.

fid         image samples against a reference, by features of a network
reconstruction  images of an autoencoder: PSNR, SSIM, rFD, used codes
clip-score  image samples against their prompts
text        texts of a model: unique, novel, correct
graphs      graphs of a model: MMDs, valid, unique, novel
likelihood  bits/dim of held-out data
sweep       samplers, steps, scales, weights: a table and a plot
"""

import dataclasses

from jaxdiff import malloc

if __name__ == '__main__':
  malloc.relaunch()  # before the second that importing jax takes

from jaxdiff import runs, scripts
from jaxdiff.config import parse_flags
from jaxdiff.evaluation.commands.clip_score import ClipScore
from jaxdiff.evaluation.commands.fid import Fid
from jaxdiff.evaluation.commands.graphs import Graphs
from jaxdiff.evaluation.commands.likelihood import Likelihood
from jaxdiff.evaluation.commands.reconstruction import Reconstruction
from jaxdiff.evaluation.commands.sweep import Sweep
from jaxdiff.evaluation.commands.text import Text
from jaxdiff.evaluation.flags import Running

COMMANDS = {
  'fid': Fid,
  'reconstruction': Reconstruction,
  'clip-score': ClipScore,
  'text': Text,
  'graphs': Graphs,
  'likelihood': Likelihood,
  'sweep': Sweep,
}


def main(argv: list[str] | None = None) -> None:
  with scripts.ending('jaxdiff.evaluation') as parsed:
    command = parsed(parse_flags(COMMANDS, argv))
    running = getattr(command, 'running', Running())
    runs.start(running, dataclasses.asdict(command))
    command.run()


if __name__ == '__main__':
  scripts.run(main)
