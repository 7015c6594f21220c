"""In-situ filtering: coarse ψ̄, ω̄ and the exact subgrid term Π of any flow.

    Π = J(ω̄, ψ̄) − bar J(ω, ψ)

with the flow's own J on both grids, each dealiased. A coarse field is small, so each is
brought together on one rank, which does the coarse grid's work alone: its bits do not
depend on how the DNS is laid out.
"""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import ComplexArray, FloatArray
from eddyscope.filtering.kernels import FILTERS, FilterSettings
from eddyscope.flows.base import Flow
from eddyscope.parallel.world import Comm, World
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import from_columns, to_points
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import TransformSettings

__all__ = ["CoarseGrid", "Subgrid", "unfiltered"]

FIELDS = ("psi", "omega", "pi")


class Subgrid:
    """Filters the state of `flow` to every coarse grid of `settings`."""

    def __init__(self, flow: Flow, settings: FilterSettings, transform: TransformSettings):
        self.flow = flow
        self.grids = {n: CoarseGrid(flow, settings, transform, n) for n in settings.n}

    def sample(
        self, omega_hat: ComplexArray, advection_hat: ComplexArray
    ) -> dict[int, dict[int, dict[str, FloatArray]]]:
        """Coarse grid -> member this rank owns -> psi, omega and pi of shape (layer, y, x).

        advection_hat: J of `omega_hat`, from `flow.advection`. Collective.
        """
        transform, layers = self.flow.transform, self.flow.layers
        ranks, members = transform.mesh.pencil_comm, transform.mesh.members
        # Where some ranks own fewer members, they work on others' coarse grids meanwhile.
        uneven = (members.stop - members.start) % ranks.size > 0
        turns = {n: turn * uneven for turn, n in enumerate(reversed(self.grids))}
        made = {}
        for n, turn in turns.items():
            whole = transform.gather_columns([omega_hat, advection_hat], n, turn)
            made[n] = {m: self.grids[n].fields(*hats) for m, hats in whole.items()}
        for n, turn in turns.items():
            _to_owners(made[n], members, turn, (len(FIELDS), layers, n, n), ranks)
        return {
            n: {m: dict(zip(FIELDS, made[n][m], strict=True)) for m in transform.owned}
            for n in self.grids
        }


def _to_owners(
    fields: dict[int, FloatArray],
    members: slice,
    turn: int,
    shape: tuple[int, ...],
    ranks: Comm,
) -> None:
    """Bring members' fields from who made them, in turns from rank `turn` on, to who owns them,
    in turns from rank 0 on. Collective over `ranks`."""
    requests = []
    for i, member in enumerate(range(members.start, members.stop)):
        maker, owner = (i + turn) % ranks.size, i % ranks.size
        if maker == owner:
            continue
        if ranks.rank == maker:
            requests.append(ranks.Isend(fields[member], owner, tag=i))
        elif ranks.rank == owner:
            fields[member] = np.empty(shape)
            ranks.Recv(fields[member], maker, tag=i)
    for request in requests:
        request.Wait()


def unfiltered(flow: Flow, omega_hat: ComplexArray) -> dict[int, FloatArray]:
    """Member this rank owns -> its vorticity on the n × n points of the DNS, axes (layer, y, x).
    Collective."""
    whole = flow.transform.gather(omega_hat, flow.transform.grid.n)
    return {m: to_points(hat) for m, hat in whole.items()}


class CoarseGrid:
    """One member at a time on one coarse grid, on this rank alone."""

    def __init__(self, flow: Flow, settings: FilterSettings, transform: TransformSettings, n: int):
        self.n = n
        # A coarse grid is small: estimated plans cost nothing, and keep its bits the same.
        mesh = World.single().mesh(members=1, rows=n // 2)
        grid = Grid(n, flow.transform.grid.dealias)
        columns = TRANSFORMS.build(transform.estimated(), grid, mesh, flow.layers)
        self.flow = flow.unforced(columns)
        self.filter = FILTERS.build(settings, n).response(columns.kx[0, 0], columns.ky[0, 0])

    def fields(self, omega_hat: ComplexArray, advection_hat: ComplexArray) -> FloatArray:
        """psi, omega and pi, shape (3, layer, y, x), from unfiltered coefficients truncated to n
        modes, axes (layer, kx, ky)."""
        transform = self.flow.transform
        omega_bar = transform.zeros_spectral()
        np.multiply(omega_hat, self.filter, out=omega_bar[0])
        pi_bar = self.flow.advection(omega_bar, transform.zeros_spectral())
        pi_bar[0] -= advection_hat * self.filter
        psi_bar = self.flow.streamfunction(omega_bar, transform.zeros_spectral())
        return to_points(from_columns(np.stack([psi_bar[0], omega_bar[0], pi_bar[0]])))
