"""Training sets in parallel HDF5: their layout, writing, reading and statistics."""
