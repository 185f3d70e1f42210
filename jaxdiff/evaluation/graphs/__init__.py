"""Metrics of graphs: MMD, valid, unique and novel."""
