"""In-situ filtering: coarse ψ̄, ω̄ and the exact subgrid term Π of any flow.

    Π = J(ω̄, ψ̄) − bar J(ω, ψ)

with the flow's own J on both grids, each dealiased. A coarse field is small, so each is
brought together on one rank, which does the coarse grid's work alone: its bits do not
depend on how the DNS is laid out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.filtering.kernels import FilterSettings, transfer_function
from eddyscope.flows.base import Flow
from eddyscope.parallel.world import World
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import TransformSettings, make_transform

__all__ = ["CoarseGrid", "Subgrid", "unfiltered"]


class Subgrid:
    """Filters the state of `flow` to every coarse grid of `settings`."""

    def __init__(self, flow: Flow, settings: FilterSettings, transform: TransformSettings):
        self.flow = flow
        self.grids = {n: CoarseGrid(flow, settings, transform, n) for n in settings.n}

    def memory(self, owned: int) -> float:
        """Bytes of a sample's fields, twice since they are rounded, for the members this rank
        owns, and of the work on one of them; beside what is held."""
        points = [8 * n * n for n in self.grids]
        return owned * 6.0 * sum(points) + 8.0 * max(points)

    def sample(
        self, omega_hat: NDArray[Any], advection_hat: NDArray[Any]
    ) -> dict[int, dict[int, dict[str, NDArray[Any]]]]:
        """Coarse grid -> member this rank owns -> psi, omega and pi of shape (y, x). Collective.

        advection_hat: J of `omega_hat`, from `flow.advection`.
        """
        gather = self.flow.transform.gather
        result = {}
        for n, grid in self.grids.items():
            omega, advection = gather(omega_hat, n), gather(advection_hat, n)
            result[n] = {m: grid.fields(omega[m], advection[m]) for m in omega}
        return result


def unfiltered(flow: Flow, omega_hat: NDArray[Any]) -> dict[int, NDArray[np.float64]]:
    """Member this rank owns -> its vorticity on the n × n points of the DNS. Collective."""
    n = flow.transform.grid.n
    whole = flow.transform.gather(omega_hat, n)
    return {m: np.fft.irfft2(hat, s=(n, n), norm="forward") for m, hat in whole.items()}


class CoarseGrid:
    """One member at a time on one coarse grid, on this rank alone."""

    def __init__(self, flow: Flow, settings: FilterSettings, transform: TransformSettings, n: int):
        self.n = n
        # A coarse grid is small: estimated plans cost nothing, and keep its bits the same.
        alone = transform.model_copy(update={"mesh": "auto", "planner": "estimate"})
        dealias = flow.transform.grid.dealias
        mesh = World.single().mesh(members=1, rows=n // 2)
        self.flow = flow.unforced(make_transform(alone, Grid(n, dealias), mesh))
        ky = np.fft.fftfreq(n, 1.0 / n)[:, None]
        kx = np.arange(n // 2 + 1)[None, :]
        self.filter = transfer_function(settings, n, kx, ky)

    def fields(
        self, omega_hat: NDArray[Any], advection_hat: NDArray[Any]
    ) -> dict[str, NDArray[np.float64]]:
        """psi, omega and pi, shape (y, x), from unfiltered coefficients truncated to n modes."""
        transform = self.flow.transform
        omega_bar = transform.zeros_spectral()
        omega_bar[0, 0] = transform.take(omega_hat * self.filter)
        pi_bar = self.flow.advection(omega_bar, transform.zeros_spectral())
        pi_bar[0, 0] -= transform.take(advection_hat * self.filter)
        psi_bar = self.flow.streamfunction(omega_bar, transform.zeros_spectral())
        hats = {"psi": psi_bar, "omega": omega_bar, "pi": pi_bar}
        return {
            name: self.to_points(transform.gather(hat, self.n)[0]) for name, hat in hats.items()
        }

    def to_points(self, coefficients: NDArray[Any]) -> NDArray[np.float64]:
        """The field on the n × n points of the coarse grid."""
        n = self.n
        points: NDArray[np.float64] = np.fft.irfft2(coefficients, s=(n, n), norm="forward")
        return points
