"""Likelihood of data under a model: the variational bound and the exact ODE.

`bound` has the bound of any process with terms, step by step and in continuous
time; `probability_flow` the likelihood of the ODE, which `ode` integrates.
"""

from jaxdiff.likelihood.bound import (
  Bound,
  bits_per_dim,
  continuous_bound,
  dequantize,
  elements,
  variational_bound,
)

__all__ = [
  'Bound',
  'bits_per_dim',
  'continuous_bound',
  'dequantize',
  'elements',
  'variational_bound',
]
