"""How fields are scaled before a network sees them, and its output after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eddyscope.config.errors import CaseError

__all__ = ["Normalisation"]


@dataclass(frozen=True)
class Normalisation:
    """x -> (x - mean) / std for psi and omega, pi -> pi / std. Stored with every model.

    The kind "own" takes each system's own training samples: the standard deviations of
    psi, omega and pi about zero, since all three have zero mean on a periodic box. The
    kind "per_snapshot" takes those of psi and omega from the snapshot at hand instead.
    """

    kind: str
    system: str
    psi_mean: float
    psi_std: float
    omega_mean: float
    omega_std: float
    pi_std: float

    @classmethod
    def own(cls, system: str, fields: Mapping[str, NDArray[Any]]) -> Normalisation:
        """Statistics of psi, omega and pi, each (sample, y, x), in double precision and a
        fixed order. CaseError if one is 0."""
        stds = {name: _rms(fields[name]) for name in ("psi", "omega", "pi")}
        for name, std in stds.items():
            if not (math.isfinite(std) and std > 0.0):
                raise CaseError(
                    f"{name} of the {system} training samples has standard deviation {std}, so it "
                    f"cannot be normalised; look at {system}/dataset.h5: is the flow at rest, or "
                    "the filter narrower than a cell?"
                )
        return cls("own", system, 0.0, stds["psi"], 0.0, stds["omega"], stds["pi"])

    def inputs(self, psi: NDArray[Any], omega: NDArray[Any]) -> Tensor:
        """Normalised psi and omega as one float32 tensor (sample, 2, y, x)."""
        psi_std: Any = self.psi_std
        omega_std: Any = self.omega_std
        if self.kind == "per_snapshot":
            psi_std, omega_std = (field.std(axis=(1, 2), keepdims=True) for field in (psi, omega))
        scaled = [(psi - self.psi_mean) / psi_std, (omega - self.omega_mean) / omega_std]
        return torch.from_numpy(np.stack(scaled, axis=1).astype(np.float32))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _rms(field: NDArray[Any]) -> float:
    """√(mean of squares): float64, sample by sample, then summed exactly."""
    sums = [float(np.sum(np.square(sample, dtype=np.float64))) for sample in field]
    return math.sqrt(math.fsum(sums) / max(field.size, 1))
