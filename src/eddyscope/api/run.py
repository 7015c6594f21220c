"""A solver for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from eddyscope.api.checks import (
    Choosing,
    alone,
    number,
    numbers,
    require_no_mean,
    square_field,
    validated,
    with_arguments,
)
from eddyscope.api.marks import FixedPace, Marks
from eddyscope.closures.on_points import OnPoints
from eddyscope.config.arrays import AnyArray, ComplexArray, FloatArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Choice
from eddyscope.flows.initial import INITIALS, initialise
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import BlewUp
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.pace import CflPace
from eddyscope.solver.schedule import whole_steps
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.settings import TimeSettings
from eddyscope.solver.simulation import Simulation
from eddyscope.spectral.grid import Grid, GridSettings
from eddyscope.spectral.half_plane import interpolated, to_modes, to_points
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import Transform

if TYPE_CHECKING:
    from eddyscope.flows.base import Flow

__all__ = ["PiFunction", "Solver"]

PiFunction = Callable[[FloatArray, FloatArray], AnyArray]
"""Π of ψ and ω, all (member, layer, y, x)."""


ARGUMENTS = {
    "grid.n": "n",
    "grid.precision": "precision",
    "time.scheme": "scheme",
    "time.dt": "dt",
    "time.cfl": "cfl",
    "time:": "dt, cfl:",
}
"""Setting of a case file -> the argument of `Solver` that it is here."""


class SolverSettings(Section):
    """What a solver is made from, as in a case file."""

    flow: Annotated[Any, Choice(FLOWS)]
    grid: GridSettings
    time: TimeSettings
    transform: Annotated[Any, Choice(TRANSFORMS)]
    members: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**63)


class Solver:
    """An ensemble of flows on the periodic box 2π × 2π at t = 0, on this process alone.

        ∂ω/∂t + J(ω, ψ) = ν∇²ω − rω − f − βv + Π,   ∇²ψ = −ω,   ν = 1/Re

    flow: as `[base.flow]` of a case file: {"kind": "navier_stokes", "reynolds": 1e4, "drag": 0.1,
        "forcing": {"kind": "deterministic", "wavenumber": 4}, "initial": {…}}; see
        `eddyscope settings base.flow`.
    n: modes a direction, even.
    dt, cfl: a fixed step, or steps of at most cfl · Δx / max(|u| + |v|); by default cfl = 0.5.
    closure: a function of ψ and ω on n × n points, both (member, layer, y, x), that gives Π in the
        same shape. It is called at each stage of a step; mean and Nyquist modes of Π are left out.
    omega: initial vorticity, (y, x), (member, y, x) or (member, layer, y, x), on any even number of
        points; by default that of `flow["initial"]`.
    seed: of random initial conditions and random forcing.
    precision, transform: as `grid.precision` and `[transform]` of a case file; "torch" computes on
        a GPU where there is one.

    Raises CaseError for what cannot be. Its arrays are copies, float64.

    >>> import eddyscope
    >>> flow = {"kind": "navier_stokes", "reynolds": 100.0, "initial": "taylor_green"}
    >>> run = eddyscope.Solver(flow, n=16, dt=0.01)
    >>> run.advance(0.5)
    >>> print(f"{run.energy[0]:.6f}")  # (1/4) exp(−4νt)
    0.245050
    """

    def __init__(
        self,
        flow: Choosing,
        n: int,
        members: int = 1,
        *,
        dt: float | None = None,
        cfl: float | None = None,
        scheme: Choosing = "ifrk3",
        closure: PiFunction | None = None,
        omega: AnyArray | None = None,
        seed: int = 0,
        precision: str = "float64",
        transform: Choosing = "fftw",
    ):
        given = {
            "flow": flow,
            "grid": {"n": n, "precision": precision},
            "time": {"scheme": scheme, "dt": dt, "cfl": 0.5 if dt is None is cfl else cfl},
            "transform": transform,
            "members": members,
            "seed": seed,
        }
        with with_arguments(ARGUMENTS):
            settings = validated(SolverSettings, given)
        if closure is not None and not callable(closure):
            raise CaseError(f"closure = {closure!r}: give a function of psi and omega, or None")
        self.simulation = _simulation(settings, closure)
        """The loop, for those who need more than what is here."""
        made = self.simulation.flow
        self.simulation.omega_hat[...] = (
            _initial(settings, made)
            if omega is None
            else _modes_of(omega, made.transform, settings.members)
        )
        self._diagnostics = Diagnostics(made)

    def advance(self, duration: float) -> None:
        """Advance by `duration`, the last step ending there. CaseError if that is no number, or no
        whole number of fixed steps; BlewUp once the state is not finite."""
        duration = number(duration, "duration")
        marks, pace = self.simulation.schedule, self.simulation.pace
        assert isinstance(marks, Marks)
        if isinstance(pace, FixedPace):
            whole_steps("duration", duration, pace.dt, "dt")
        marks.add(duration)
        self.simulation.run(marks.last, [_Finite()])

    @property
    def time(self) -> float:
        """t."""
        return self.simulation.time

    @property
    def steps(self) -> int:
        """Steps done since t = 0."""
        return self.simulation.clock.step

    @property
    def omega(self) -> FloatArray:
        """ω on n × n points, (member, layer, y, x)."""
        return self._points(self.simulation.omega_hat)

    @property
    def psi(self) -> FloatArray:
        """ψ on n × n points, (member, layer, y, x)."""
        flow = self.simulation.flow
        psi_hat = flow.transform.zeros_spectral()
        return self._points(flow.streamfunction(self.simulation.omega_hat, psi_hat))

    @property
    def energy(self) -> FloatArray:
        """E = mean of |u|²/2, (member,)."""
        return self._means()["energy"]

    @property
    def enstrophy(self) -> FloatArray:
        """Z = mean of ω²/2, (member,)."""
        return self._means()["enstrophy"]

    def _means(self) -> dict[str, FloatArray]:
        return self._diagnostics.means(self.simulation.omega_hat, self.time, self.steps)

    def _points(self, field_hat: ComplexArray) -> FloatArray:
        transform = self.simulation.flow.transform
        whole = transform.gather(field_hat, transform.grid.n)
        return to_points(np.stack([whole[member] for member in sorted(whole)]).astype(complex))


class _Finite:
    """Ends a run whose state is not finite."""

    def observe(self, simulation: Simulation) -> None:
        clock = simulation.clock
        if np.isfinite(clock.fastest) and (
            simulation.at_mark is None
            or simulation.flow.transform.loops.all_finite(simulation.omega_hat)
        ):
            return
        advice = simulation.pace.advice or simulation.scheme.advice(np.nan)
        raise BlewUp(f"the state is not finite at t = {clock.time:.6g}; {advice}")


def _simulation(settings: SolverSettings, closure: PiFunction | None) -> Simulation:
    """The loop, its state at rest. Raises CaseError."""
    grid, kind, time = Grid.of(settings.grid), FLOWS[settings.flow.kind], settings.time
    kind.check(settings.flow, grid)
    mesh = alone().mesh(settings.members, grid.n // 2)
    transform = TRANSFORMS.build(settings.transform, grid, mesh, kind.layers)
    flow: Flow = FLOWS.build(settings.flow, transform, seed=settings.seed)
    return Simulation(
        flow,
        SCHEMES.build(time.scheme, flow, time.dt or 1.0),
        NoClosure() if closure is None else _on_points(closure, flow),
        transform.zeros_spectral(),
        Marks(),
        FixedPace(time.dt) if time.dt else CflPace(time.cfl or 0.0, grid.spacing),
    )


def _initial(settings: SolverSettings, flow: Flow) -> ComplexArray:
    """The state that the flow's settings say. Raises CaseError."""
    initial = INITIALS.build(settings.flow.initial, settings.seed)
    initial.check(settings.grid.n, settings.members, flow.layers)
    state = flow.transform.zeros_spectral()
    initialise(state, flow.transform, initial)
    return state


def _on_points(closure: PiFunction, flow: Flow) -> OnPoints:
    """A user's function as a closure; what it gives is checked."""

    def pi(psi: FloatArray, omega: FloatArray) -> FloatArray:
        given = numbers(closure(psi, omega), "what the closure gave")
        if given.shape != omega.shape:
            raise CaseError(
                f"the closure gave an array of shape {given.shape} and type {given.dtype}; Π is "
                f"real and has the shape of ψ and ω, {omega.shape}"
            )
        return given.astype(np.float64)

    return OnPoints(pi, flow)


def _modes_of(omega: AnyArray, transform: Transform, members: int) -> ComplexArray:
    """A user's vorticity as the state of all members. Raises CaseError."""
    field = square_field(omega, "omega")
    require_no_mean(field, "omega")
    if field.ndim == 3:
        field = field[:, None]
    wanted = (members, transform.layers)
    if field.ndim > 4 or any(
        have not in (1, want) for have, want in zip(field.shape[:-2], wanted, strict=False)
    ):
        raise CaseError(
            f"omega has shape {np.shape(omega)}; give (y, x), (member, y, x) or (member, layer, y, "
            f"x) with {members} members and {transform.layers} layers"
        )
    whole = interpolated(to_modes(field), transform.grid.n)
    every = np.broadcast_to(whole, (*wanted, *whole.shape[-2:]))
    state = transform.zeros_spectral()
    for at in np.ndindex(wanted):
        state[at] = transform.take(every[at])
    return state
