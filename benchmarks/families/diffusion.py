"""Diffusion: the model of a configuration, as a family."""

import jax
from jax import Array

from benchmarks.families.family import Family, Params
from jaxdiff import models, samplers
from jaxdiff.config import Config, Spec
from jaxdiff.likelihood import ode, probability_flow

GRID = 50  # steps of Runge and Kutta's method for the likelihood


def make(config: Config, spec: Spec) -> Family:
  """Builds the family; `config.sampling` says how it is sampled."""
  model, sampling = models.make(config, spec), config.sampling
  grid = probability_flow.log_snr_grid(model.schedule, GRID)

  def sample(params: Params, keys: Array) -> Array:
    prior, keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    x = jax.vmap(lambda key: model.process.prior(key, spec.shape))(prior)
    denoiser = model.denoiser(params, {})
    solver = model.solver(sampling, {}, params, {})
    return samplers.sample(solver, denoiser, keys, x, model.grid(sampling))

  def nats(params: Params, keys: Array, x: Array) -> Array:
    exact = probability_flow.exact_trace()
    found = probability_flow.log_likelihood(
      model.denoiser(params, {}),
      model.schedule,
      keys,
      x,
      grid,
      divergence=exact if x[0].size < 10 else probability_flow.hutchinson(),
      integrator=ode.fixed(ode.RK4),
    )
    return -found.log_density

  return Family(model.init, model.loss, sample, nats, 'probability-flow ODE')
