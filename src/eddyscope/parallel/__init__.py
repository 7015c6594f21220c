"""Everything that talks MPI or HDF5. mpi4py and h5py are imported in this room only."""
