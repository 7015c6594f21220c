"""Subgrid closures that run in LES."""
