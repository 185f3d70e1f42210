"""How likely data is under a model, in bits/dim.

`bound` has the variational bound, term by term and in continuous time;
`probability_flow` the exact likelihood of the ODE, which `ode` integrates.
"""

from jaxdiff.likelihood.bound import (
  Bound,
  bits_per_dim,
  continuous_bound,
  dequantize,
  fixed_variance,
  learned_variance,
  variational_bound,
)

__all__ = [
  'Bound',
  'bits_per_dim',
  'continuous_bound',
  'dequantize',
  'fixed_variance',
  'learned_variance',
  'variational_bound',
]
