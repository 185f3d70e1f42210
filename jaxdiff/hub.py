"""Files of the Hugging Face Hub, hf://owner/name/file, on this machine.

  hf://owner/name[@revision]           a folder
  hf://owner/name[@revision]/folder    a folder in it, such as vae
  hf://owner/name[@revision]/file      a file, which has one of `ENDINGS`

The library huggingface_hub fetches them once; its cache and its settings, such
as HF_HOME, HF_HUB_OFFLINE and HF_TOKEN, hold. Of a folder come the files of
text and the weights: safetensors or, if there are none, those of torch.save.
"""

import logging
import os
import re
from pathlib import Path

from jaxdiff import files

SCHEME = 'hf://'
ENDINGS = {
  *('.safetensors', '.pt', '.pth', '.bin', '.ckpt'),
  *('.json', '.txt', '.gz', '.model'),
}

_ADDRESS = re.compile(
  SCHEME + r'([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/([\w./-]+))?/?'
)
_TEXT = '*.json', '*.txt', '*.gz', '*.model'


def local_path(path: str | os.PathLike[str]) -> Path:
  """Finds a file or folder on this machine; fetches one of hf:// or gs://.

  Raises:
    ValueError: The name is none of the Hub, or huggingface_hub is missing.
    FileNotFoundError: The Hub does not have it; or it is not in the cache, and
      the Hub cannot be reached.
  """
  text = os.fspath(path)
  if not text.startswith(SCHEME):
    return files.local(text).expanduser()
  found = _ADDRESS.fullmatch(text)
  repository, revision, inside = found.groups() if found else ('', None, None)
  parts = [*repository.split('/'), *(inside or 'x').split('/')]
  if not all(part.strip('.') for part in parts):
    raise ValueError(
      f'{text} must be hf://owner/name, with @revision, and a /file or a '
      '/folder, if any'
    )
  try:
    import huggingface_hub
    from huggingface_hub import constants, errors
  except ImportError as error:
    raise ValueError(
      f"{text} needs huggingface_hub: pip install 'jaxdiff[hub]'"
    ) from error
  logging.getLogger('huggingface_hub').setLevel(logging.ERROR)
  try:
    if Path(inside or '').suffix in ENDINGS:
      file = huggingface_hub.hf_hub_download(
        repository, inside, revision=revision
      )
      return Path(file)

    def fetch(*names: str) -> Path:
      start = f'{inside}/' if inside else ''
      patterns = [start + name for name in names]
      snapshot = huggingface_hub.snapshot_download(
        repository, revision=revision, allow_patterns=patterns
      )
      return Path(snapshot, inside or '')

    folder = fetch(*_TEXT, '*.safetensors')
    if not any(folder.rglob('*.safetensors')):
      folder = fetch(*_TEXT, '*.bin')
  except errors.LocalEntryNotFoundError as error:
    cache = constants.HF_HUB_CACHE
    raise FileNotFoundError(
      f'{text} is not in the cache of the Hub, {cache}, and the Hub cannot be '
      'reached or HF_HUB_OFFLINE is set'
    ) from error
  except (errors.HfHubHTTPError, errors.HFValidationError) as error:
    raise FileNotFoundError(
      f'{text} is not on the Hub, or not for everybody (HF_TOKEN): '
      f'{str(error).strip().splitlines()[-1]}'
    ) from error
  if not folder.is_dir():
    raise FileNotFoundError(f'{text}: the repository has no such folder')
  return folder
