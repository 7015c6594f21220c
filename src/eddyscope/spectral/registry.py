"""The transform backends that `transform.kind` may name."""

from __future__ import annotations

from eddyscope.config.registry import Registry
from eddyscope.spectral.backends.fftw import Fftw
from eddyscope.spectral.backends.mpi4py_fft import Mpi4pyFft
from eddyscope.spectral.backends.torch import Torch
from eddyscope.spectral.transform import Transform

__all__ = ["TRANSFORMS"]

TRANSFORMS: Registry[Transform] = Registry(
    "transform", {"fftw": Fftw, "mpi4py_fft": Mpi4pyFft, "torch": Torch}
)
