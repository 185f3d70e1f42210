"""Measuring a trained model against held-out data."""
