"""Equations of motion: what evolves, how it is forced, and how it starts."""
