"""Transform backends; mpi4py_fft is imported in this room only."""
