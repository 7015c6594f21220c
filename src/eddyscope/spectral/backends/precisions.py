"""Which precisions mpi4py-fft was built with; it leaves out those whose FFTW was not found."""

from __future__ import annotations

import numpy as np
from mpi4py_fft.fftw import get_fftw_lib

__all__ = ["fftw_precisions"]


def fftw_precisions() -> dict[str, bool]:
    """Name of a precision -> whether it can be transformed."""
    names = {"float": "f", "double": "d", "long double": "g"}
    return {name: get_fftw_lib(np.dtype(code)) is not None for name, code in names.items()}
