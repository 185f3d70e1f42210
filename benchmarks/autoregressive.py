"""Bits per character of an autoregressive transformer of the same size.

  python -m benchmarks.autoregressive text:FILE --length 128 --steps 3000

The network of `networks.transformer`, causal and without time, learns each
character from those before it by cross-entropy. Its bits per character are a
reference for the bound of a diffusion run. Give both the same sizes and batch,
and the same steps, or the same time with --minutes. The averaged weights are
tested on the split 'test'.

The first character of a window is predicted from a start symbol. The symbol
takes the id of MASK, so both networks have equally many parameters. Windows are
independent of each other. The length of a line is given and not predicted. Both
are the same for diffusion.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm
import tyro
from jax import Array

from jaxdiff import malloc, training
from jaxdiff.data import batches, epoch, load
from jaxdiff.evaluation.bits import mean_of
from jaxdiff.losses import Batch
from jaxdiff.networks.transformer import Transformer

_TIMED = 20  # steps that --minutes is reckoned from


@dataclasses.dataclass(frozen=True)
class Options:
  """Trains an autoregressive transformer and prints its bits per character."""

  data: tyro.conf.Positional[str]
  length: int | None = None  # of lines None is the longest
  steps: int = 3000
  minutes: float | None = None  # of processor time, instead of steps
  batch_size: int = 32
  learning_rate: float = 1e-3
  warmup_steps: int = 100
  clip_norm: float = 1.0
  ema_decay: float = 0.999
  width: int = 128
  depth: int = 4
  num_heads: int = 4
  dropout: float = 0.0
  seed: int = 0


def nats(network: Transformer, params: Any, x0: Array, **kwargs: Any) -> Array:
  """Computes -log p(x_l | x_1 .. x_{l-1}), [B, L], of categories x0 [B, L]."""
  start = network.num_categories - 1
  before = jnp.pad(x0[:, :-1], ((0, 0), (1, 0)), constant_values=start)
  t = jnp.zeros(len(x0))
  logits = network.apply({'params': params}, before, t, **kwargs)
  # The start is never predicted.
  log_p = jax.nn.log_softmax(logits[..., :start])
  return -jnp.take_along_axis(log_p, x0[..., None], axis=-1)[..., 0]


def per_character(values: Array, batch: Batch) -> tuple[Array, Array]:
  """Computes the mean over an example's characters, and counts them: [B]."""
  mask = batch.get('mask')
  mask = jnp.ones(values.shape, bool) if mask is None else mask
  count = mask.sum(axis=1)
  return jnp.where(mask, values, 0.0).sum(axis=1) / count, count


def make_optimizer(
  options: Options, steps: int
) -> optax.GradientTransformation:
  warmup = min(options.warmup_steps, steps // 2)
  rate = optax.join_schedules(
    [
      optax.linear_schedule(0.0, options.learning_rate, warmup),
      optax.cosine_decay_schedule(options.learning_rate, steps - warmup),
    ],
    [warmup],
  )
  return optax.chain(
    optax.clip_by_global_norm(options.clip_norm), optax.adam(rate)
  )


def fit(
  options: Options, network: Transformer, make_batches: Callable[[], Any]
) -> tuple[training.TrainState, int, float]:
  """Returns the trained state, its number of steps, and their CPU seconds."""

  def loss(params: Any, keys: Array, batch: Batch) -> tuple[Array, dict]:
    rngs = {'dropout': keys[0]}
    values = nats(network, params, batch['x0'], train=True, rngs=rngs)
    return per_character(values, batch)[0], {}

  def run(steps: int, most: int) -> tuple[training.TrainState, float]:
    """Runs `steps` of a training of `most`; times those after the first."""
    optimizer = make_optimizer(options, most)
    init_key, key = jax.random.split(jax.random.key(options.seed))
    examples = make_batches()
    first = next(examples)
    params = jax.jit(network.init)(init_key, first['x0'][:1], np.zeros(1))
    state = training.init_state(params['params'], optimizer, key)
    step = jax.jit(
      training.make_train_step(loss, optimizer, decay=options.ema_decay),
      donate_argnums=0,
    )
    state, metrics = step(state, first)
    jax.block_until_ready(metrics)
    began = time.process_time()
    progress = tqdm.tqdm(range(1, steps), initial=1, total=steps)
    for _ in progress:
      state, metrics = step(state, next(examples))
      bits = float(metrics['loss']) / np.log(2)
      progress.set_postfix_str(f'{bits:.3f} bits/character')
    examples.close()
    return state, time.process_time() - began

  steps = options.steps
  if options.minutes is not None:
    _, seconds = run(_TIMED, _TIMED)
    steps = max(2, int(60 * options.minutes * (_TIMED - 1) / seconds))
  state, seconds = run(steps, steps)
  return state, steps, seconds


def main(options: Options) -> None:
  train = load(options.data, 'train', length=options.length)
  test = load(options.data, 'test', length=train.shape[0])
  network = Transformer(
    train.categories + 1,
    width=options.width,
    depth=options.depth,
    num_heads=options.num_heads,
    dropout=options.dropout,
    time=False,
    causal=True,
  )
  state, steps, seconds = fit(
    options,
    network,
    lambda: batches(train, options.batch_size, seed=options.seed),
  )

  @jax.jit
  def measure(params: Any, batch: Batch) -> tuple[Array, Array]:
    return per_character(nats(network, params, batch['x0']), batch)

  measured = [measure(state.ema_params, batch) for batch in epoch(test, 128)]
  values, counts = (
    np.concatenate(parts) for parts in zip(*measured, strict=True)
  )
  number = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  print(
    f'{number:,} parameters, {steps} steps of {options.batch_size}, '
    f'{seconds / 60:.1f} CPU minutes'
  )
  bits = mean_of(values / np.log(2), counts)
  print(f'{bits} bits/character of {counts.sum():,} characters, autoregressive')


if __name__ == '__main__':
  malloc.relaunch()  # as train.py does
  main(tyro.cli(Options))
