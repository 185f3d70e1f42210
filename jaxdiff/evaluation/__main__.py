"""Evaluation of trained models: `python -m jaxdiff.evaluation --help`.

fid         image samples against a reference, by features of a network
clip-score  image samples against their prompts
text        texts of a model: unique, novel, correct
graphs      graphs of a model: MMDs, valid, unique, novel
likelihood  bits/dim of held-out data
sweep       samplers, steps, scales, weights: a table and a plot
"""

import sys

from jaxdiff import malloc

if __name__ == '__main__':
  malloc.relaunch()  # before the second that importing jax takes

from jaxdiff import parallel
from jaxdiff.config import parse_flags
from jaxdiff.evaluation.commands.clip_score import ClipScore
from jaxdiff.evaluation.commands.fid import Fid
from jaxdiff.evaluation.commands.graphs import Graphs
from jaxdiff.evaluation.commands.likelihood import Likelihood
from jaxdiff.evaluation.commands.sweep import Sweep
from jaxdiff.evaluation.commands.text import Text
from jaxdiff.evaluation.flags import Running
from jaxdiff.runs import DamagedCheckpointError

COMMANDS = {
  'fid': Fid,
  'clip-score': ClipScore,
  'text': Text,
  'graphs': Graphs,
  'likelihood': Likelihood,
  'sweep': Sweep,
}


def main(argv: list[str] | None = None) -> None:
  try:
    command = parse_flags(COMMANDS, argv)
    c = getattr(command, 'running', Running())
    parallel.start(c.coordinator, c.num_processes, c.process_id)
    command.run()
  except (ValueError, OSError, DamagedCheckpointError) as error:
    sys.exit(f'jaxdiff.evaluation: {error}')


if __name__ == '__main__':
  try:
    main()
  except KeyboardInterrupt:
    sys.exit('jaxdiff.evaluation: interrupted')
