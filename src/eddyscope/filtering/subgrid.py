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
from eddyscope.spectral.half_plane import from_columns, to_points
from eddyscope.spectral.transform import TransformSettings, make_transform

__all__ = ["CoarseGrid", "Subgrid", "unfiltered"]

FIELDS = ("psi", "omega", "pi")


class Subgrid:
    """Filters the state of `flow` to every coarse grid of `settings`."""

    def __init__(self, flow: Flow, settings: FilterSettings, transform: TransformSettings):
        self.flow = flow
        self.grids = {n: CoarseGrid(flow, settings, transform, n) for n in settings.n}

    def memory(self, owned: int) -> float:
        """Bytes of a sample's fields for the members this rank owns, and of the work on one of
        them; beside what is held."""
        points = [8 * n * n for n in self.grids]
        return owned * len(FIELDS) * sum(points) + 8.0 * max(points)

    def sample(
        self, omega_hat: NDArray[Any], advection_hat: NDArray[Any]
    ) -> dict[int, dict[int, dict[str, NDArray[Any]]]]:
        """Coarse grid -> member this rank owns -> psi, omega and pi of shape (y, x). Collective.

        advection_hat: J of `omega_hat`, from `flow.advection`.
        """
        transform = self.flow.transform
        ranks, members = transform.mesh.pencil_comm, transform.mesh.members
        # Where some ranks own fewer members, they work on others' coarse grids meanwhile.
        uneven = (members.stop - members.start) % ranks.size > 0
        turns = {n: turn * uneven for turn, n in enumerate(reversed(self.grids))}
        made = {}
        for n, turn in turns.items():
            whole = transform.gather_columns([omega_hat, advection_hat], n, turn)
            made[n] = {m: self.grids[n].fields(*hats) for m, hats in whole.items()}
        for n, turn in turns.items():
            _to_owners(made[n], members, turn, (len(FIELDS), n, n), ranks)
        return {
            n: {m: dict(zip(FIELDS, made[n][m], strict=True)) for m in transform.owned}
            for n in self.grids
        }


def _to_owners(
    fields: dict[int, NDArray[Any]], members: slice, turn: int, shape: tuple[int, ...], ranks: Any
) -> None:
    """Bring members' fields from who made them, in turns from rank `turn` on, to who owns them,
    in turns from rank 0 on. Collective over `ranks`."""
    sent = []
    for i, member in enumerate(range(members.start, members.stop)):
        maker, owner = (i + turn) % ranks.size, i % ranks.size
        if maker == owner:
            continue
        if ranks.rank == maker:
            sent.append(ranks.Isend(fields[member], owner, tag=i))
        elif ranks.rank == owner:
            fields[member] = np.empty(shape)
            ranks.Recv(fields[member], maker, tag=i)
    for request in sent:
        request.Wait()


def unfiltered(flow: Flow, omega_hat: NDArray[Any]) -> dict[int, NDArray[np.float64]]:
    """Member this rank owns -> its vorticity on the n × n points of the DNS. Collective."""
    n = flow.transform.grid.n
    whole = flow.transform.gather(omega_hat, n)
    return {m: to_points(hat) for m, hat in whole.items()}


class CoarseGrid:
    """One member at a time on one coarse grid, on this rank alone."""

    def __init__(self, flow: Flow, settings: FilterSettings, transform: TransformSettings, n: int):
        self.n = n
        # A coarse grid is small: estimated plans cost nothing, and keep its bits the same.
        alone = transform.model_copy(update={"mesh": "auto", "planner": "estimate"})
        dealias = flow.transform.grid.dealias
        mesh = World.single().mesh(members=1, rows=n // 2)
        self.flow = flow.unforced(make_transform(alone, Grid(n, dealias), mesh))
        columns = self.flow.transform
        self.filter = transfer_function(settings, n, columns.kx[0, 0], columns.ky[0, 0])

    def fields(self, omega_hat: NDArray[Any], advection_hat: NDArray[Any]) -> NDArray[np.float64]:
        """psi, omega and pi, shape (3, y, x), from unfiltered coefficients truncated to n modes,
        axes (kx, ky)."""
        transform = self.flow.transform
        omega_bar = transform.zeros_spectral()
        np.multiply(omega_hat, self.filter, out=omega_bar[0, 0])
        pi_bar = self.flow.advection(omega_bar, transform.zeros_spectral())
        pi_bar[0, 0] -= advection_hat * self.filter
        psi_bar = self.flow.streamfunction(omega_bar, transform.zeros_spectral())
        return to_points(from_columns(np.stack([psi_bar[0, 0], omega_bar[0, 0], pi_bar[0, 0]])))
