"""Linear least squares that are judged on what they were not fitted to.

Conjugate gradients (CGLS) for min_d ‖m_f (e − J d_f)‖² + ridge_f ‖d_f‖², for all folds f at
once: m_f is 1 on what fold f is fitted to and 0 on what it holds out. Every point is
held out by one fold, so the held-out parts make up one whole field.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eddyscope.advisor.jacobian import LayerJacobian, Parameters

__all__ = ["HeldOutFit", "fold_masks"]

RIDGE = 1e-6
"""Ridge over the curvature of the squared error along its own gradient."""

FOLDS = 4
"""Most parts that the samples are held out in."""


def fold_masks(error: Tensor) -> Tensor:
    """Masks m_f, (fold, sample, channel, y, x) with lengths of 1 where they do not vary.

    Whole samples are held out in turn; of a lone sample, the halves of the box.
    """
    count, _, rows, _ = error.shape
    shape = (count, 1, 1, 1) if count > 1 else (1, 1, rows, 1)
    parts = min(count, FOLDS) if count > 1 else 2
    label = torch.arange(max(shape), device=error.device)
    owner = label % parts if count > 1 else label * parts // rows
    masks = [(owner != part).to(error.dtype).reshape(shape) for part in range(parts)]
    return torch.stack(masks)


class HeldOutFit:
    """The fits of all folds; vectors of theirs have a leading axis (fold)."""

    def __init__(self, jacobian: LayerJacobian, error: Tensor):
        self.jacobian = jacobian
        self.error = error
        """e, (sample, channel, y, x)."""
        self.masks = fold_masks(error)
        folds = len(self.masks)
        self.residual = error.expand(folds, *error.shape)
        """e − J d_f on all points, fitted to or not."""
        self.solution = {k: p.new_zeros(folds, *p.shape) for k, p in jacobian.point.items()}
        self.slope = self._transposed(self.residual * self.masks)
        self.direction = self.slope
        self.steepness = _dot(self.slope, self.slope)
        self.ridge: Tensor | None = None

    @property
    def is_done(self) -> bool:
        """Whether no fold can get better."""
        return not bool((self.steepness > 0).any())

    def step(self) -> None:
        """One iteration of every fold; a fold whose slope has vanished stays where it is."""
        change = self._times(self.direction)
        curvature = _squares(change * self.masks)
        length = _dot(self.direction, self.direction)
        if self.ridge is None:
            self.ridge = RIDGE * _ratio(curvature, length)
        ahead = _ratio(self.steepness, curvature + self.ridge * length)
        self.solution = _added(self.solution, self.direction, ahead)
        self.residual = self.residual - _as_factor(ahead, change) * change
        fitted = self._transposed(self.residual * self.masks)
        self.slope = _added(fitted, self.solution, -self.ridge)
        before, self.steepness = self.steepness, _dot(self.slope, self.slope)
        self.direction = _added(self.slope, self.direction, _ratio(self.steepness, before))

    def _times(self, directions: Parameters) -> Tensor:
        """J d_f of every fold."""
        folds = range(len(self.masks))
        each = [self.jacobian.times({k: d[f] for k, d in directions.items()}) for f in folds]
        return torch.stack(each)

    def _transposed(self, fields: Tensor) -> Parameters:
        """Jᵀ u_f of every fold."""
        each = [self.jacobian.transposed(field) for field in fields]
        return {key: torch.stack([pulled[key] for pulled in each]) for key in self.jacobian.point}

    def held_out_residual(self) -> Tensor:
        """e − J d, each point of the fold that held it out; shape of the error."""
        return (self.residual * (1 - self.masks)).sum(dim=0)

    def removed(self) -> tuple[float, float]:
        """Share of ‖e‖² that is gone on the points fitted to, and on those held out."""
        inside = _squares(self.residual * self.masks).sum()
        whole = _squares(self.error * self.masks).sum()
        outside = _squares(self.held_out_residual()[None]).sum()
        return float(1.0 - inside / whole), float(1.0 - outside / _squares(self.error[None]).sum())


def _squares(fields: Tensor) -> Tensor:
    """Sum of squares of each fold's field, in double precision; shape (fold,)."""
    return fields.double().square().flatten(1).sum(dim=1)


def _dot(a: Parameters, b: Parameters) -> Tensor:
    """Scalar product of each fold's vectors, in double precision; shape (fold,)."""
    terms = [(a[key].double() * b[key].double()).flatten(1).sum(dim=1) for key in a]
    return torch.stack(terms).sum(dim=0)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, 0 where b is 0."""
    return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))


def _as_factor(numbers: Tensor, vectors: Tensor) -> Tensor:
    """Numbers, one a fold, in the shape and precision that multiply the folds' vectors."""
    return numbers.to(vectors.dtype).reshape(-1, *[1] * (vectors.dim() - 1))


def _added(a: Parameters, b: Parameters, factors: Tensor) -> Parameters:
    """a + factor b, fold by fold."""
    return {key: a[key] + _as_factor(factors, b[key]) * b[key] for key in a}
