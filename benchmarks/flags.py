"""Command lines of benchmarks that start train.py and pass on its flags."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import TypeVar

from jaxdiff import config as configs
from jaxdiff.config import Section, parse_flags

Options = TypeVar('Options', bound=Section)


def parse(kind: type[Options], argv: Sequence[str] | None = None) -> Options:
  """Parses a command line whose words after --flags are those of train.py.

  The parser of the options would take the first of these for its own.

  Args:
    kind: A class with a field `flags`, a tuple of text.
    argv: The words. None are those of the process.

  Raises:
    ValueError: An option or a flag of train.py is wrong.
  """
  words = list(sys.argv[1:] if argv is None else argv)
  if '--flags' not in words:
    return parse_flags(kind, words)
  end = words.index('--flags')
  options = parse_flags(kind, words[:end])
  configs.parse(words[end + 1 :])
  return dataclasses.replace(options, flags=tuple(words[end + 1 :]))
