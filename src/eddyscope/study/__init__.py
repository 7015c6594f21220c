"""Studies: axes, what is to be done and each thing once, tables."""
