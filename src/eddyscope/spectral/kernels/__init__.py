"""Compiled loops of the transform backends."""
