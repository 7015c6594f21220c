"""Ways in which all ranks write one HDF5 file together, behind one protocol."""
