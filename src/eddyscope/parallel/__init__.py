"""Communicators, failing together, work dealt to ranks. Uses mpi4py."""
