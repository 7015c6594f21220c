"""Names of array types, so that signatures say what an array holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AnyArray",
    "BoolArray",
    "CoarseFields",
    "ComplexArray",
    "FloatArray",
    "IntArray",
    "RealArray",
]

RealArray = NDArray[np.floating[Any]]
"""Real numbers in the working precision."""

FloatArray = NDArray[np.float64]
"""Real numbers in double precision."""

ComplexArray = NDArray[np.complexfloating[Any, Any]]
"""Fourier coefficients in the working precision."""

IntArray = NDArray[np.integer[Any]]

BoolArray = NDArray[np.bool_]

AnyArray = NDArray[Any]
"""Where code serves arrays of every type."""

CoarseFields = Mapping[int, Mapping[int, Mapping[str, RealArray]]]
"""Coarse grid n -> member -> psi, omega and pi at one time, each (layer, y, x); a rank gives the
members it owns."""
