"""Fourier grids, distributed transforms, and operators and reductions on spectral arrays."""
