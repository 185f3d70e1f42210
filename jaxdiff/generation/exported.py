"""Samplers as one file by `jax.export`, for CPUs, GPUs and TPUs.

  from pathlib import Path
  import numpy as np
  from jax import export
  from safetensors.numpy import load_file

  sampler = export.deserialize(bytearray(Path('OUT.jaxexport').read_bytes()))
  arrays = load_file('OUT.safetensors')
  images = sampler.call(arrays, np.arange(4, dtype=np.int32))

`arrays` are the parameters, 'params/...', and the options: 'options/seed',
'options/scale', the conditions 'options/cond/...' of which sample i has row i
modulo their number, and so on. They may be changed. With --guide or
--classifier the parameters are 'params/own/...' and 'params/guide/...'. The
index is int32 [B], B that of the export. The samples are those of sample.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array, export

from jaxdiff import files
from jaxdiff.generation.job import Job
from jaxdiff.generation.sampler import make_sampler
from jaxdiff.runs import exports

PLATFORMS = ('cpu', 'cuda', 'tpu')


def check(out: str | Path) -> tuple[Path, Path]:
  """Returns the paths of both files, where they can be written; see `save`."""
  out = files.as_path(out).expanduser()
  if out.suffix != '.jaxexport':
    raise ValueError(f'a sampler is written to .jaxexport, got {out}')
  weights = out.with_suffix('.safetensors')
  exports.check_pair(out, weights)
  try:
    import flatbuffers  # noqa: F401 - jax.export writes by it
  except ImportError as error:
    raise ValueError(
      "a sampler is written by flatbuffers: pip install 'jaxdiff[export]'"
    ) from error
  return out, weights


def save(job: Job, out: str | Path, batch_size: int) -> Path:
  """Writes OUT.jaxexport and OUT.safetensors.

  Args:
    job: Of a run, without an edit and without another run before it.
    out: Ends in .jaxexport.
    batch_size: B.

  Raises:
    ValueError: The file does not end so, samples are no single array, or
      flatbuffers is missing.
    OSError: A file cannot be written.
  """
  out, weights = check(out)
  if isinstance(job.run.spec.shape, dict):
    raise ValueError('samples of graphs are no single array')
  draw = make_sampler(job.run.model, job.run.config.sampling)
  guided = isinstance(job.params, tuple)
  parts = ('own', 'guide')
  params = dict(zip(parts, job.params, strict=True)) if guided else job.params

  def program(arrays: Mapping[str, Array], index: Array) -> Array:
    tree = unflatten_dict(arrays, sep='/')
    params = tree['params']
    if guided:
      params = tuple(params[name] for name in parts)
    return draw(params, tree['options'], index).x

  index = np.arange(batch_size, dtype=np.int32)
  tree: Any = {'params': params, 'options': job.options(index)}
  # Numbers of Python have no type until they are arrays.
  tree = jax.tree.map(lambda x: np.asarray(jnp.asarray(x)), tree)
  arrays = flatten_dict(jax.device_get(tree), sep='/')
  exported = export.export(jax.jit(program), platforms=PLATFORMS)(arrays, index)
  content = safetensors.numpy.save(
    {name: np.array(x, order='C') for name, x in arrays.items()}
  )
  serialized = exported.serialize()
  files.save(weights, lambda file: file.write_bytes(content))
  files.save(out, lambda file: file.write_bytes(serialized))
  return weights
