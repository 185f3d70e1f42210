"""Trains a classifier, and counts how often it is right."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdiff import data, losses, parallel, training
from jaxdiff.networks.classifier import Classifier

# Steps between two looks at the loss: on a CPU of many fake devices the queue
# must not grow without end.
_FETCH_EVERY = 20


def make_loss(network: Classifier, shift: int = 0) -> losses.Loss:
  """Cross-entropy of batches {'x0': [B, H, W, C], 'cond': {'label': [B]}}.

  Args:
    network: the classifier.
    shift: each image is moved at random by up to so many pixels, each way.
  """

  def moved(key: Array, x: Array) -> Array:
    padded = jnp.pad(x, [(shift, shift), (shift, shift), (0, 0)], mode='edge')
    row, column = jax.random.randint(key, (2,), 0, 2 * shift + 1)
    return jax.lax.dynamic_slice(padded, (row, column, 0), x.shape)

  def loss(
    params: Any, keys: Array, batch: losses.Batch
  ) -> tuple[Array, dict[str, Array]]:
    images, labels = batch['x0'], batch['cond']['label']
    if shift:
      images = jax.vmap(moved)(keys, images)
    logits = network.apply({'params': params}, images).logits
    error = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return error, {'accuracy': _right(logits, labels)}

  return loss


def fit(
  dataset: data.Dataset,
  network: Classifier,
  mesh: Mesh,
  *,
  num_steps: int,
  batch_size: int = 128,
  learning_rate: float = 3e-3,
  shift: int = 1,
  seed: int = 0,
  mode: str = 'jit',
) -> Any:
  """Trains the network on a labelled set; its averaged parameters.

  AdamW with a cosine decay. The devices share each batch.

  Args:
    dataset: of `data.load`.
    network: for its number of classes.
    mesh: of this process's devices.
    num_steps: of training.
    batch_size: images a step; a multiple of the devices.
    learning_rate: at the start.
    shift: see `make_loss`.
    seed: of the initial parameters and the order of the data.
    mode: 'jit' or 'pmap'.

  Raises:
    ValueError: the set has no labels, or a number is out of range.
  """
  check_labels(dataset)
  parallel.check_batch_size(batch_size, mesh)
  if num_steps < 1:
    raise ValueError(f'num_steps must be at least 1, got {num_steps}')
  rate = optax.cosine_decay_schedule(learning_rate, num_steps)
  optimizer = optax.adamw(rate, weight_decay=1e-2)
  blank = jnp.zeros((1, *dataset.shape))

  def init(key: Array) -> training.TrainState:
    init_key, key = jax.random.split(key)
    params = network.init(init_key, blank)['params']
    return training.init_state(params, optimizer, key)

  key = jax.random.key(seed)
  sharding = parallel.state_sharding(jax.eval_shape(init, key), mesh)
  state = parallel.initialise(init, key, sharding)
  loss = make_loss(network, shift)
  step = parallel.compile_train_step(
    training.make_train_step(loss, optimizer, decay=0.99),
    mesh,
    sharding,
    mode=mode,
  )
  batches = data.batches(dataset, batch_size, seed=seed)
  try:
    with tqdm(total=num_steps, desc='training', unit='step') as bar:
      for i in range(1, num_steps + 1):
        state, metrics = step(state, next(batches))
        bar.update()
        if i % _FETCH_EVERY == 0 or i == num_steps:
          seen = {name: float(x) for name, x in metrics.items()}
          if not np.isfinite(seen['loss']):
            raise ValueError(
              f'the loss is {seen["loss"]} at step {i}: try a smaller '
              'learning rate'
            )
          bar.set_postfix(loss=seen['loss'], accuracy=seen['accuracy'])
  finally:
    batches.close()
  return parallel.gather(state.ema_params, mesh)


def accuracy(
  network: Classifier, params: Any, dataset: data.Dataset, size: int = 256
) -> float:
  """How often it is right, over all of a labelled set."""
  check_labels(dataset)
  right = jax.jit(
    lambda params, x0, label: _right(
      network.apply({'params': params}, x0).logits, label
    )
  )
  total = 0.0
  for batch in data.epoch(dataset, min(size, len(dataset))):
    label = batch['cond']['label']
    total += float(np.sum(right(params, batch['x0'], label)))
  return total / len(dataset)


def check_labels(dataset: data.Dataset) -> None:
  """Raises ValueError for a set without labels."""
  if dataset.num_classes is None:
    raise ValueError(
      f'a classifier needs a set with labels; {dataset.name} has none'
    )


def _right(logits: Array, labels: Array) -> Array:
  return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
