"""Loops over fields, by the kind of arrays that a backend has, and what they are made of."""
