"""`python -m jaxdiff.data prepare tfds:fashion_mnist`."""

import sys
from pathlib import Path

import tyro

from jaxdiff.data.preparing import (
  prepare_captioned_shapes,
  prepare_digits,
  prepare_tfds,
  resolve_data_dir,
)


def prepare(
  name: tyro.conf.Positional[str],
  /,
  manual_dir: Path | None = None,
  data_dir: Path | None = None,
) -> None:
  """Prepares a set on disk, once; reading it later needs no TensorFlow.

  Args:
    name: tfds:<name>, an image set of TFDS; needs pip install 'jaxdiff[tf]'.
      Or digits or captioned_shapes, which prepare themselves when first
      loaded.
    manual_dir: Where files downloaded by hand are; without it TFDS downloads
      them.
    data_dir: Where to put it. Default: $TFDS_DATA_DIR, else
      ~/.cache/jaxdiff/data.
  """
  root = resolve_data_dir(data_dir)
  kind, _, rest = name.partition(':')
  if name == 'digits':
    folder = prepare_digits(root)
  elif name == 'captioned_shapes':
    for size in (16, 32):
      folder = prepare_captioned_shapes(root, size).parent.parent
  elif kind == 'tfds' and rest:
    try:
      folder = prepare_tfds(rest, root, manual_dir)
    except ModuleNotFoundError as error:
      sys.exit(f'error: {error}')
  else:
    sys.exit(
      "error: the set to prepare must be 'digits', 'captioned_shapes' or "
      f"'tfds:<name>', got {name!r}"
    )
  print(f'{name} is prepared in {folder}')


if __name__ == '__main__':
  tyro.extras.subcommand_cli_from_dict(
    {'prepare': prepare}, prog='python -m jaxdiff.data'
  )
