"""Evaluation of trained models: metrics of samples, and likelihood."""
