"""Samples, training, adaptations of a base model, offline metrics. Uses torch."""
