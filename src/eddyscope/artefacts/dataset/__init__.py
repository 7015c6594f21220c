"""Training sets in HDF5, written by all ranks: their layout, writing, reading and statistics."""
