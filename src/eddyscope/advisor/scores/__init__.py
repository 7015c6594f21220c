"""Scores that rank layers, one a file, and the table of them. Imports no torch."""
