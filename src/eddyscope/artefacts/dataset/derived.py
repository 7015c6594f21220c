"""Fields that follow from ψ̄ on a periodic box, exactly: what a dataset need not hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np

from eddyscope.config.arrays import FloatArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.spectral.rectangle import derivative, minus_laplacian

__all__ = ["DERIVED", "derive", "is_known", "require_fields", "with_derived"]

Length = tuple[float, float]
"""(Ly, Lx)."""


def _strain(psi: RealArray, length: Length) -> FloatArray:
    shear = 2.0 * derivative(psi, (1, 1), length)
    stretch = derivative(psi, (2, 0), length) - derivative(psi, (0, 2), length)
    return np.hypot(shear, stretch)


RULES: dict[str, Callable[[RealArray, Length], FloatArray]] = {
    "omega": minus_laplacian,
    "u": lambda psi, length: derivative(psi, (1, 0), length),
    "v": lambda psi, length: -derivative(psi, (0, 1), length),
    "strain": _strain,
}
"""Field -> how it is made of ψ."""

DERIVED = {
    "omega": "vorticity, −∇²ψ",
    "u": "velocity along x, ∂ψ/∂y",
    "v": "velocity along y, −∂ψ/∂x",
    "strain": "rate of strain, √(2 S_ij S_ij) = √(4 ψ_xy² + (ψ_yy − ψ_xx)²)",
}
"""Name of a field -> what it is. Of fields of several layers, each layer's own ψ."""


def derive(name: str, psi: RealArray, length: Length) -> FloatArray:
    """One of DERIVED, from ψ (…, y, x) on a periodic box of sides (Ly, Lx)."""
    return RULES[name](psi.astype(np.float64), length)


def require_fields(
    names: Iterable[str],
    fields: Collection[str],
    periodic: tuple[bool, bool],
    layers: int,
    where: str,
) -> None:
    """CaseError for a field that `where`, which holds others, neither has nor says by ψ.

    The vorticity of a flow of several layers may be a potential one, which ψ of one layer does not
    say.
    """
    rules = [name for name in DERIVED if name not in fields and (name != "omega" or layers == 1)]
    for name in names:
        if name in fields:
            continue
        if name not in rules:
            raise CaseError(
                f"{where} has no field {name!r}; it has {', '.join(fields)}, and computed from "
                f"psi: {', '.join(rules)}"
            )
        if "psi" not in fields or not all(periodic):
            why = "has no psi" if "psi" not in fields else "is not periodic"
            raise CaseError(
                f"{where} has no field {name!r}, and {why}, so that it cannot be computed; import "
                f"it with --field {name}=FILE"
            )


def is_known(name: str, fields: Collection[str], periodic: tuple[bool, bool], layers: int) -> bool:
    """Whether what holds others has a field, or says it by ψ; see `require_fields`."""
    try:
        require_fields([name], fields, periodic, layers, "")
    except CaseError:
        return False
    return True


def with_derived(
    given: Mapping[str, RealArray], names: Iterable[str], length: Length
) -> dict[str, RealArray]:
    """The fields `names`, those that are not given computed from ψ."""
    return {
        name: given[name] if name in given else derive(name, given["psi"], length) for name in names
    }
