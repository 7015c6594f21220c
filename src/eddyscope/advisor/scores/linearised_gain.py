"""How much of the target error a small change of one layer can remove.

With f the base network, e = y − f(x) its error on the target samples, and J_l the exact
Jacobian of f in the parameters of layer l (Gauss–Newton, one layer at a time):

    R²_l = 1 − ‖e − J_l d‖² / ‖e‖²

A layer has more weights than a few samples have independent points, so the best d on the
samples it is fitted to says little. Hence d is fitted to a part of the samples by
conjugate gradients and judged on the rest, each part in turn, and the number of
iterations, which acts as the regulariser, is the one that serves the held-out parts best
(a small ridge keeps the last iterations sane). A layer whose changes do not carry over
from sample to sample scores 0; where there is no error to remove, every layer does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from eddyscope.advisor.scores.base import Curve, Evidence, LayerScore
from eddyscope.config.arrays import FloatArray
from eddyscope.config.case import Section
from eddyscope.learning.metrics import shell_spectrum

if TYPE_CHECKING:
    from torch import Tensor

    from eddyscope.networks.base import LayeredModel

__all__ = ["LinearisedGain"]

PATIENCE = 6
"""Iterations without a gain on the held-out parts after which the fit stops."""


class LinearisedGain:
    """R²_l on held-out samples, or on the held-out half of a lone one.

    Curves: `fitted` and `held_out`, R² after each iteration (0 first, NaN once it has
    stopped); `removed`, the share of the error's power that goes in each shell
    k = 1 … n/2 − 1, held out (NaN where there is no error); left out where the fields have no
    shells.
    """

    class Settings(Section):
        """A score of kind "linearised_gain": the share of the target error that a small change
        of a layer removes on data it was not fitted to: other samples, or of a lone sample its
        other half."""

        kind: Literal["linearised_gain"] = "linearised_gain"
        iterations: int = Field(default=30, ge=1)
        """Most conjugate-gradient iterations of the fit of each layer."""

    reads_base: ClassVar[bool] = False
    scales_first: ClassVar[bool] = False
    measures: ClassVar[str] = (
        "the share of the base model's error that a small change of a layer removes on data it "
        "was not fitted to"
    )
    number_format: ClassVar[str] = ".1%"
    least: ClassVar[float] = 0.0005  # what is written as 0.0%

    def __init__(self, settings: Settings):
        self.settings = settings

    def of_layer(self, model: LayeredModel, evidence: Evidence, layer: str) -> LayerScore:
        from eddyscope.advisor.jacobian import LayerJacobian
        from eddyscope.advisor.least_squares import HeldOutFit

        samples = evidence.target
        jacobian = LayerJacobian(model, layer, samples.inputs)
        error = samples.targets - jacobian.output
        fit = HeldOutFit(jacobian, error)
        fitted, held_out = np.full((2, self.settings.iterations + 1), np.nan)
        fitted[0] = held_out[0] = 0.0
        best, remaining = 0, error
        for iteration in range(1, self.settings.iterations + 1):
            if fit.is_done:
                break
            fit.step()
            fitted[iteration], held_out[iteration] = fit.removed()
            if held_out[iteration] > held_out[best]:
                best, remaining = iteration, fit.held_out_residual()
            elif iteration - best >= PATIENCE:
                break
        curves = _fits(fitted, held_out)
        if evidence.spectral:
            curves["removed"] = _removed(error, remaining)
        return LayerScore(float(held_out[best]), curves)


def _fits(fitted: FloatArray, held_out: FloatArray) -> dict[str, Curve]:
    iterations = np.arange(float(len(fitted)))
    return {
        "fitted": Curve(
            fitted, "iteration", iterations, "share of the error removed on data fitted to"
        ),
        "held_out": Curve(
            held_out, "iteration", iterations, "share of the error removed on data held out"
        ),
    }


def _removed(error: Tensor, remaining: Tensor) -> Curve:
    removed = _removed_by_shell(error, remaining)
    shells = np.arange(1.0, len(removed) + 1)
    words = "share of the error's power removed by shell, held out"
    return Curve(removed, "wavenumber", shells, words)


def _removed_by_shell(error: Tensor, remaining: Tensor) -> FloatArray:
    before, after = (_power_spectrum(field) for field in (error, remaining))
    ratio = np.divide(after, before, out=np.full_like(before, np.nan), where=before > 0)
    return 1.0 - ratio


def _power_spectrum(field: Tensor) -> FloatArray:
    """Σ|f̂|² by shell, all samples and channels together; field: (sample, channel, y, x)."""
    spectrum: FloatArray = shell_spectrum(field.double().cpu().numpy(), power=2).sum(axis=(0, 1))
    return spectrum
