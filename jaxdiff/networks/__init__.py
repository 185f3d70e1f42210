"""Networks in Flax Linen: `init` and `apply` are the pure functions."""
