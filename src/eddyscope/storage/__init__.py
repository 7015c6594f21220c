"""Files: their layout, atomic writing, raw data that all ranks write, seals. Uses h5py."""
