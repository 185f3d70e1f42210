"""`python -m jaxdiff.data prepare tfds:fashion_mnist`."""

import sys
from pathlib import Path

import tyro

from jaxdiff.data import prepared
from jaxdiff.data.sets import SETS


def prepare(
  name: tyro.conf.Positional[str],
  /,
  manual_dir: Path | None = None,
  data_dir: str | None = None,
) -> None:
  """Prepares a TFDS set on disk, once; reading it needs no TensorFlow.

  Args:
    name: tfds:NAME, a set of TFDS; needs pip install 'jaxdiff[tf]'. Other sets
      need no preparing.
    manual_dir: Folder of files downloaded by hand; without it TFDS downloads
      them.
    data_dir: Where to put the set. Default: $TFDS_DATA_DIR, else
      ~/.cache/jaxdiff/data.
  """
  kind, _, rest = name.partition(':')
  if kind in SETS and kind != 'tfds':
    if manual_dir is not None or data_dir is not None:
      sys.exit(
        f'error: {name} needs no preparing, and takes neither --manual-dir nor '
        '--data-dir'
      )
    print(f'{name} needs no preparing')
    return
  if kind != 'tfds' or not rest:
    sys.exit(f"error: the set to prepare must be 'tfds:NAME', got {name!r}")
  try:
    folder = prepared.prepare(
      rest, prepared.resolve_data_dir(data_dir), manual_dir
    )
  except Exception as error:  # TFDS raises what it likes
    sys.exit(f'error: {" ".join(str(error).split()) or repr(error)}')
  print(f'{name} is prepared in {folder}')


if __name__ == '__main__':
  tyro.extras.subcommand_cli_from_dict(
    {'prepare': prepare}, prog='python -m jaxdiff.data'
  )
