"""Scores that rank the layers before any re-training, and how good they were."""
