"""The commands of `python -m jaxdiff.evaluation`, a file each."""
