"""In-situ filtering: coarse ψ̄, ω̄ and the exact subgrid term Π of any flow.

    Π = J(ω̄, ψ̄) − bar J(ω, ψ)

with the flow's own J on both grids, each dealiased. A coarse field is small, so each is
brought together on one rank, which does the coarse grid's work alone: its bits do not
depend on how the DNS is laid out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eddyscope.config.arrays import ComplexArray, FloatArray
from eddyscope.filtering.kernels import FILTERS, FilterSettings
from eddyscope.flows.base import Flow
from eddyscope.parallel.world import Comm, World
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import to_points
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import TransformSettings

__all__ = ["CoarseGrid", "Subgrid", "unfiltered"]

FIELDS = ("psi", "omega", "pi")
"""What a sample is made of: ψ̄, ω̄, Π."""


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
            made[n] = self.grids[n].fields(whole)
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
    """Members on one coarse grid, on this rank alone: as many at once as the transform asks for."""

    def __init__(self, flow: Flow, settings: FilterSettings, transform: TransformSettings, n: int):
        self.n = n
        self.at_once = flow.transform.at_once
        # A coarse grid is small: estimated plans cost nothing, and keep its bits the same.
        mesh = World.single().mesh(members=self.at_once, rows=n // 2)
        grid = Grid(n, flow.transform.grid.dealias)
        columns = TRANSFORMS.build(transform.estimated(), grid, mesh, flow.layers)
        self.flow = flow.unforced(columns)
        response = FILTERS.build(settings, n).response(columns.kx[0, 0], columns.ky[0, 0])
        self.filter = columns.from_host(response)

    def fields(self, whole: Mapping[int, ComplexArray]) -> dict[int, FloatArray]:
        """Member -> psi, omega and pi, shape (3, layer, y, x), from its unfiltered ω and J
        truncated to n modes, axes (field, layer, kx, ky)."""
        members, found = list(whole), dict[int, FloatArray]()
        for first in range(0, len(members), self.at_once):
            together = members[first : first + self.at_once]
            made = self._fields(self.flow.transform.loops.stack([whole[m] for m in together]))
            found |= {m: made[:, i] for i, m in enumerate(together)}
        return found

    def _fields(self, hats: ComplexArray) -> FloatArray:
        """psi, omega and pi, (3, member, layer, y, x), from (member, field, layer, kx, ky)."""
        flow, transform = self.flow, self.flow.transform
        omega_bar = transform.zeros_spectral()
        transform.loops.multiply(hats[:, 0], self.filter, omega_bar)
        pi_bar = flow.advection(omega_bar, transform.zeros_spectral())
        pi_bar -= hats[:, 1] * self.filter
        psi_bar = flow.streamfunction(omega_bar, transform.zeros_spectral())
        fields_hat = transform.loops.stack([psi_bar, omega_bar, pi_bar])
        return transform.to_host(transform.to_own_points(fields_hat))
