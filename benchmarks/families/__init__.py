"""GAN, VAE, normalizing flow and diffusion model, the simplest of each.

A family is a few functions on the seams of jaxdiff: the loss is a
`losses.Loss`, so that `training.make_task` trains all four.
"""

from benchmarks.families.family import Family

__all__ = ['Family']
