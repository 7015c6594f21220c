"""Forcings f of the vorticity equation (which has −f on its right-hand side), and their table.

A forcing acts alike on all layers of a flow; what a flow's `response` makes of it may differ.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import Field, field_validator

from eddyscope.config.arrays import ComplexArray, FloatArray, IntArray, RealArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Registry
from eddyscope.config.streams import stream
from eddyscope.config.units import Unit
from eddyscope.flows.base import Response
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import Transform

__all__ = ["FORCINGS", "Deterministic", "Forcing", "NoForcing"]


class ForcingSettings(Section):
    """What the settings of all forcings have; each adds `kind`, a Literal of its name."""

    kind: str

    @property
    def words(self) -> str:
        """How the flow is stirred, in a few words, with its strength."""
        return f"stirred ({self.kind})"

    @property
    def stirred_at(self) -> float | None:
        """The wavenumber that it acts at; None where there is no such one."""
        return None


class Forcing(Protocol):
    """Made from (settings, transform, response, seed)."""

    has_kicks: bool
    """Whether its kinds have a `kick_work`."""

    @staticmethod
    def check(settings: Any, grid: Grid) -> None:
        """Raise CaseError where the grid does not resolve the forcing. Nothing is computed.

        settings: the entry's own `Settings`.
        """

    @property
    def kick_work(self) -> FloatArray | None:
        """See `Flow.kick_work`."""

    def add(self, out: ComplexArray, time: float, step: int, factor: RealArray | float) -> None:
        """out += factor · f̂; factor broadcasts to (1, layer, kx, ky)."""

    def kick(self, omega_hat: ComplexArray, step: int, dt: float) -> None:
        """Add what acts at the end of a step of dt. Not collective."""


class Steady:
    """What forcings that are not random have in common: no kicks."""

    has_kicks = False

    def kick(self, omega_hat: ComplexArray, step: int, dt: float) -> None:
        """Nothing is random in time."""

    @property
    def kick_work(self) -> FloatArray | None:
        return None


def response_at(
    response: Response | None, transform: Transform, kx: IntArray, ky: IntArray
) -> FloatArray:
    """The response of the modes [kx, ky] of this rank's coefficients, shape (layer, mode)."""
    factor = 1.0 if response is None else response(transform.kx, transform.ky)
    whole = np.broadcast_to(factor, (1, *transform.spectral_shape[1:]))
    return np.asarray(whole[0][:, kx, ky], dtype=np.float64)


def stored_here(transform: Transform, modes: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Which of the modes (kx, ky), kx ≥ 0, axes (mode, 2), this rank stores, and where: indices
    along kx and ky of its coefficients."""
    columns = transform.spectral_block[2]
    here = np.flatnonzero((columns.start <= modes[:, 0]) & (modes[:, 0] < columns.stop))
    return here, modes[here, 0] - columns.start, modes[here, 1]


class NoForcing(Steady):
    """f = 0."""

    class Settings(ForcingSettings):
        kind: Literal["none"] = "none"

        @property
        def words(self) -> str:
            return "left to decay"

    @staticmethod
    def check(settings: Settings, grid: Grid) -> None:
        """Every grid resolves it."""

    def __init__(
        self,
        settings: Settings,
        transform: Transform,
        response: Response | None = None,
        seed: int = 0,
    ):
        pass

    def add(self, out: ComplexArray, time: float, step: int, factor: RealArray | float) -> None:
        """Nothing."""


class Deterministic(Steady):
    """f = A [cos(k_f x) + cos(k_f y)], steady; either component may be left out."""

    class Settings(ForcingSettings):
        kind: Literal["deterministic"] = "deterministic"
        wavenumber: Annotated[int, Unit("1/L")] = Field(ge=1)
        """k_f."""
        components: list[Literal["x", "y"]] = Field(default=["x", "y"])
        """Which of cos(k_f x) and cos(k_f y) act."""
        amplitude: Annotated[float | None, Unit("1/T²")] = None
        """A; by default the wavenumber."""

        @property
        def words(self) -> str:
            strength = "" if self.amplitude is None else f", amplitude {self.amplitude:g}"
            return f"stirred at wavenumber {self.wavenumber:g} ({self.kind}{strength})"

        @property
        def stirred_at(self) -> float:
            return self.wavenumber

        @field_validator("components")
        @classmethod
        def _each_once(cls, components: list[str]) -> list[str]:
            if not components or len(set(components)) != len(components):
                raise ValueError('give "x", "y" or both, each once; for none set kind = "none"')
            return components

    @staticmethod
    def check(settings: Settings, grid: Grid) -> None:
        if settings.wavenumber > grid.k_max:
            raise CaseError(
                f"forcing.wavenumber = {settings.wavenumber} is not resolved: a grid of "
                f"n = {grid.n} keeps wavenumbers up to {grid.k_max}; use a larger n or a smaller "
                "wavenumber"
            )

    def __init__(
        self,
        settings: Settings,
        transform: Transform,
        response: Response | None = None,
        seed: int = 0,
    ):
        self.check(settings, transform.grid)
        k = settings.wavenumber
        amplitude = float(k) if settings.amplitude is None else settings.amplitude
        # cos has two modes of half its amplitude; those with kx < 0 are not stored.
        stored = {"x": [(k, 0)], "y": [(0, k), (0, -k)]}
        modes = np.array([mode for name in settings.components for mode in stored[name]])
        _, kx, ky = stored_here(transform, modes)
        f_hat = 0.5 * amplitude * response_at(response, transform, kx, ky)
        self._kx, self._ky = transform.from_host(kx), transform.from_host(ky)
        self._f_hat = transform.from_host(f_hat.astype(transform.grid.real))

    def add(self, out: ComplexArray, time: float, step: int, factor: RealArray | float) -> None:
        """out += factor · f̂, at the few modes that are forced."""
        kx, ky = self._kx, self._ky
        at_modes = factor if isinstance(factor, float) else factor[0][:, kx, ky]
        out[:, :, kx, ky] += at_modes * self._f_hat


class Ring:
    """Random forcing of the modes of a ring, white in time, at a given input of energy.

    At the end of each step of length Δt every mode of the ring gets
    Δω̂ = k √(2 ε Δt / M) e^{iθ}, with M modes in the full plane and θ uniform. Each kick by
    itself carries ½ Σ |Δω̂|²/k² = ε Δt, so the mean input of energy is ε exactly.
    θ is keyed by (seed, member, step) and counted by the wavenumber, never by rank.
    """

    class Settings(ForcingSettings):
        kind: Literal["ring"] = "ring"
        wavenumber: Annotated[float, Unit("1/L")] = Field(gt=0.0)
        """k_f, the middle of the ring."""
        width: Annotated[float, Unit("1/L")] = Field(default=2.0, gt=0.0)
        """Modes with |k − k_f| ≤ width/2 are forced."""
        energy_input: Annotated[float, Unit("L²/T³")] = Field(gt=0.0)
        """ε, energy (mean |u|²/2) per unit time."""

        @property
        def words(self) -> str:
            facts = f"width {self.width:g}, energy input {self.energy_input:g}"
            return f"stirred at wavenumber {self.wavenumber:g} ({self.kind}, {facts})"

        @property
        def stirred_at(self) -> float:
            return self.wavenumber

        @property
        def edges(self) -> tuple[float, float]:
            """The least and the largest |k| of the ring."""
            return self.wavenumber - self.width / 2, self.wavenumber + self.width / 2

    has_kicks = True

    @staticmethod
    def check(settings: Settings, grid: Grid) -> None:
        low, high = settings.edges
        if high > grid.k_max:
            raise CaseError(
                f"forcing.wavenumber + width/2 = {high:g} is not resolved: a grid of n = {grid.n} "
                f"keeps wavenumbers up to {grid.k_max}; use a larger n or a lower ring"
            )
        if not len(_half_of_ring(low, high, 2 * int(high) + 4)):
            raise CaseError(
                f"forcing.width = {settings.width:g} leaves no mode between {low:g} and {high:g}; "
                "use a wider ring"
            )

    def __init__(
        self,
        settings: Settings,
        transform: Transform,
        response: Response | None = None,
        seed: int = 0,
    ):
        self.check(settings, transform.grid)
        half = _half_of_ring(*settings.edges, transform.grid.n)
        self._seed = seed
        self._members = transform.mesh.streams
        self._count = len(half)
        k2 = (half**2).sum(axis=1)
        # Each mode of the half plane stands for itself and its conjugate.
        self._strength = np.sqrt(k2 * settings.energy_input / len(half))
        # A mode with kx = 0 is stored with its conjugate; the others are stored alone.
        twice = np.flatnonzero(half[:, 0] == 0)
        number = np.concatenate([np.arange(len(half)), twice])
        here, kx, ky = stored_here(transform, np.concatenate([half, -half[twice]]))
        self._which, self._conjugate = number[here], here >= len(half)
        self._response = response_at(response, transform, kx, ky)
        self._transform = transform
        self._kx, self._ky = transform.from_host(kx), transform.from_host(ky)
        self._kick_work: FloatArray = transform.from_host(np.zeros(transform.spectral_shape))

    @property
    def kick_work(self) -> FloatArray:
        return self._kick_work

    def add(self, out: ComplexArray, time: float, step: int, factor: RealArray | float) -> None:
        """Nothing: it acts by kicks."""

    def kick(self, omega_hat: ComplexArray, step: int, dt: float) -> None:
        """ω̂ += Δω̂ of the step, and the work it does is added up."""
        kx, ky = self._kx, self._ky
        of_members = np.stack([self._change(member, step, dt) for member in self._members])
        changes = self._transform.from_host(of_members[:, None] * self._response)
        for at in self._transform.together:
            field, work, change = omega_hat[at], self._kick_work[at], changes[at]
            modes = field[..., kx, ky]
            work[..., kx, ky] += (modes.conj() * change).real + 0.5 * abs(change) ** 2
            modes += change
            field[..., kx, ky] = modes

    def _change(self, member: int, step: int, dt: float) -> ComplexArray:
        """Δω̂ of the ring's modes that are stored here, (mode,), without the response."""
        random = stream("kicks", self._seed, member, step)
        theta = random.uniform(0.0, 2.0 * np.pi, self._count)
        change = (self._strength * np.sqrt(dt) * np.exp(1j * theta))[self._which]
        return np.asarray(np.where(self._conjugate, change.conj(), change))


def _half_of_ring(low: float, high: float, n: int) -> IntArray:
    """(kx, ky) of one of each pair of conjugate modes with low ≤ |k| ≤ high, in a fixed order."""
    side = np.arange(-(n // 2) + 1, n // 2)
    kx, ky = np.meshgrid(side[side >= 0], side, indexing="ij")
    modulus = np.hypot(kx, ky)
    chosen = (modulus >= low) & (modulus <= high) & ((kx > 0) | (ky > 0))
    return np.stack([kx[chosen], ky[chosen]], axis=1)


FORCINGS: Registry[Forcing] = Registry(
    "forcing", {"none": NoForcing, "deterministic": Deterministic, "ring": Ring}
)
