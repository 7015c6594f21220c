"""What a simulation takes of memory and disk, as numbers: no array and no transform is made.

Counted are the arrays of the rank that has most: the first ones of the mesh, whose blocks are
the larger ones. Bytes throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddyscope.flows.base import Traits
from eddyscope.flows.registry import FLOWS
from eddyscope.solver.assemble import Setup
from eddyscope.solver.checkpoint import checkpoint_size
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.spectral.distribution import Share
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.registry import TRANSFORMS

__all__ = ["INITIAL_WORK", "LOADED", "UNFILTERED_WORK", "Sizes", "sizes_of"]

INITIAL_WORK = 4.8
"""Whole float64 fields of n × n at work while one member's initial condition is made (measured)."""

UNFILTERED_WORK = 3.1
"""The same while one member's unfiltered vorticity is made (measured)."""

LOADED = 125 * 2**20
"""Of numba, compiled loops and MPI-IO, which a plan has not loaded (measured, x86-64 Linux)."""

FLOAT64 = 8
"""Bytes of a number in double precision."""


@dataclass(frozen=True)
class Sizes:
    """Of one rank, but for the checkpoint."""

    solver: int
    """Transform, flow, scheme, state, diagnostics: as long as the run goes."""
    coarse: int
    """Transforms and flows of the coarse grids."""
    work: int
    """Work on a sample, or on an initial condition, whichever is more."""
    owned: int
    """Members whose whole fields are gathered on the rank."""
    checkpoint: int
    """One file."""
    device: int
    """Of the rank's GPU, at the peak of a step or a sample; 0 on CPUs."""

    @property
    def of_gpu(self) -> str:
        """That in words, to go on with; empty on CPUs."""
        return f"; {self.device / 2**20:.0f} MiB of its GPU" if self.device else ""


def sizes_of(setup: Setup, ranks: int, coarse: Sequence[int], full_fields: bool) -> Sizes:
    """Of an ensemble on so many ranks, filtered to `coarse` grids. CaseError if no mesh fits."""
    grid, shape = setup.grid, setup.mesh_shape(ranks)
    traits: Traits = FLOWS[setup.flow.kind].traits(setup.flow)
    layers = traits.layers
    share = Share.largest(grid, shape, setup.members, layers)
    work = max(
        INITIAL_WORK * FLOAT64 * grid.n**2,
        _sample_work(share, coarse, layers),
        UNFILTERED_WORK * FLOAT64 * grid.n**2 if full_fields else 0.0,
    )
    device = setup.transform.device_memory(grid, share)
    if device:
        device += _fields(setup, traits, share)
        device += sum(_batch_of_samples(setup, Grid(n, grid.dealias), share) for n in coarse)
    return Sizes(
        solver=_solver(setup, traits, share),
        coarse=sum(_coarse(setup, Grid(n, grid.dealias), traits) for n in coarse),
        work=int(work),
        owned=share.owned,
        checkpoint=checkpoint_size(
            _state(setup, traits), (setup.members, layers, grid.n // 2, grid.n)
        ),
        device=device,
    )


def _solver(setup: Setup, traits: Traits, share: Share) -> int:
    # Of the diagnostics: k², the weights of the energy, the rates of loss.
    weights = 1 + traits.energy_pairs + traits.different_rates
    work = _fields(setup, traits, share) + weights * share.columns * setup.grid.n * FLOAT64
    transform: int = TRANSFORMS[setup.transform.kind].memory(setup.grid, share)
    return transform + work


def _fields(setup: Setup, traits: Traits, share: Share) -> int:
    """What lies where the transform's arrays do, all members' fields and factors of each mode."""
    grid, scheme = setup.grid, SCHEMES[setup.time.scheme.kind]
    real, complex_ = grid.real.itemsize, grid.complex.itemsize
    modes = share.columns * grid.n
    field = share.members * share.layers * modes * complex_
    fields = 2 + len(scheme.history_names) + scheme.work_fields  # the state, its advection, …
    factors = scheme.factors(traits.has_waves) * traits.different_rates + traits.factors
    kicks = share.members * share.layers * modes * FLOAT64 if traits.has_kicks else 0
    forcing_of_diagnostics = field
    work: int = fields * field + factors * modes * real + kicks + forcing_of_diagnostics
    return work


def _batch_of_samples(setup: Setup, grid: Grid, share: Share) -> int:
    """Of a GPU, while all members' samples are made on a coarse grid: ω̂, ψ̂, Ĵ, Π̂, two filtered
    fields, and its transform."""
    owned = Share.largest(grid, (1, 1), share.members, share.layers)
    fields: int = 6 * share.members * share.layers * owned.columns * grid.n * grid.complex.itemsize
    transform: int = setup.transform.device_memory(grid, owned)
    return fields + transform


def _coarse(setup: Setup, grid: Grid, traits: Traits) -> int:
    """Of a coarse grid on one rank: transform, flow and filter."""
    share = Share.largest(grid, (1, 1), 1, traits.layers)
    modes = share.columns * grid.n
    transform: int = TRANSFORMS[setup.transform.kind].memory(grid, share)
    return transform + (traits.factors + 1) * modes * FLOAT64


def _sample_work(share: Share, coarse: Sequence[int], layers: int) -> float:
    """psi, omega and pi of the members owned on every coarse grid, and the work on one field."""
    points = [layers * n * n * FLOAT64 for n in coarse]
    return 3.0 * share.owned * sum(points) + max(points)


def _state(setup: Setup, traits: Traits) -> dict[str, np.dtype[Any]]:
    """The arrays of a checkpoint and their types, as `Simulation.state` has them."""
    names = ("omega_hat", *SCHEMES[setup.time.scheme.kind].history_names)
    state: dict[str, np.dtype[Any]] = dict.fromkeys(names, setup.grid.complex)
    return state | ({"kick_work": np.dtype(np.float64)} if traits.has_kicks else {})
