"""A trained network as a closure: Π from ψ̄ and ω̄ on the coarse grid it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.learning.models import Model, load_model
from eddyscope.learning.prediction import predict

__all__ = ["LearnedClosure"]

BATCH = 8
"""Members predicted at once, which bounds the memory of activations."""


class LearnedClosure:
    """Π of psi and omega by a model. Each rank predicts the members it is given, whole fields.

    `normalisation` replaces the model's own (its `name` is part of every result): the base
    model runs on the target with the target's, see `learning/prediction.py`.
    """

    def __init__(self, model: Model, normalisation: Normalisation | None = None):
        self.model = model
        self.normalisation = normalisation or model.normalisation
        self.n = model.record.grid.n
        """Points a side of the fields it takes."""
        self.filter_width = model.record.grid.filter_width

    @classmethod
    def from_file(
        cls,
        path: Path,
        expect: Any = None,
        normalisation: Normalisation | None = None,
    ) -> LearnedClosure:
        """The closure in an artefact. Not collective. Raises CaseError."""
        return cls(load_model(path, expect), normalisation)

    def per_snapshot(self) -> LearnedClosure:
        """The same, psi and omega normalised by each field's own standard deviation."""
        return LearnedClosure(self.model, self.normalisation.per_snapshot())

    def pi(
        self,
        psi: NDArray[Any],
        omega: NDArray[Any],
        out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Π, (member, y, x), float64, of psi and omega of the same shape. Not collective.

        Raises CaseError if the fields are not on the grid the model was trained on: its
        kernels reach a number of grid points, not a length.
        """
        if psi.shape[1:] != (self.n, self.n) or psi.shape != omega.shape:
            raise CaseError(
                f"model {str(self.model.key)!r} was trained on {self.n} x {self.n} points, but is "
                f"given psi {psi.shape} and omega {omega.shape}; use a model trained on that grid"
            )
        layered = (psi[:, None], omega[:, None])
        found = predict(self.model.network, self.normalisation, *layered, BATCH)[:, 0]
        if out is None:
            return found
        out[...] = found
        return out
