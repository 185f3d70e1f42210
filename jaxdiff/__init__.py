"""Diffusion models in JAX as small pure functions.

A schedule, a process, a loss and a sampler are plain functions of arrays; a
network is anything with `apply(params, xt, t, cond)`. Import the modules:

  from jaxdiff import schedules, processes, losses, samplers
"""
