"""A joint law small enough to enumerate: the truth for discrete diffusion."""

import itertools

import jax.numpy as jnp
import numpy as np

from jaxdiff.processes import transitions

K, L = 3, 2


def law(seed=0, num_classes=K, length=L):
  """p(x0) over all K^L strings, [K, .., K], float64, far from a product."""
  rng = np.random.default_rng(seed)
  p = 0.05 + rng.exponential(size=(num_classes,) * length) ** 2
  return p / p.sum()


def strings(num_classes, length):
  """[K^L, L], in the order of `law(..).ravel()`."""
  every = itertools.product(range(num_classes), repeat=length)
  return np.array(list(every), np.int32)


def noised(pi, alpha, x0, xt):
  """q(xt | x0) of whole strings, [.., L] each, float64: their product."""
  one = alpha * (x0 == xt) + (1 - alpha) * np.asarray(pi, np.float64)[xt]
  return one.prod(-1)


def posterior(pi, alpha, p, xt):
  """p(x0^l = k | xt) by Bayes over all strings, [len(xt), L, len(pi)]."""
  num_classes, length = p.shape[0], p.ndim
  x0 = strings(num_classes, length)
  weight = p.ravel() * noised(pi, alpha, x0[None], xt[:, None])
  total = weight.sum(1, keepdims=True)
  weight = weight / np.where(total > 0, total, 1)
  onehot = x0[..., None] == np.arange(len(pi))
  return np.einsum('bx,xlk->blk', weight, onehot)


def denoiser(pi, schedule, p):
  """The exact logits, in jax: (xt [B, L], t [B]) -> [B, L, K]."""
  x0 = jnp.asarray(strings(p.shape[0], p.ndim))
  num_classes = len(pi)
  log_p = jnp.asarray(np.log(p.ravel()), jnp.float32)
  pi = jnp.asarray(pi, jnp.float32)
  onehot = x0[..., None] == jnp.arange(num_classes)[None, None]

  def denoise(xt, t):
    alpha, sigma = (level[:, None, None] for level in schedule(t))
    # What is written at t = 1, as in infilling, is still known.
    alpha = jnp.maximum(alpha, 1e-6)
    same = xt[:, None] == x0[None]
    one = alpha * same + sigma * pi[xt][:, None]
    weight = log_p[None] + jnp.sum(transitions.log(one), -1)
    top = jnp.max(weight, -1, keepdims=True)
    weight = jnp.exp(weight - jnp.where(jnp.isfinite(top), top, 0.0))
    return transitions.log(
      jnp.einsum('bx,xlk->blk', weight, onehot.astype(jnp.float32))
    )

  return denoise
