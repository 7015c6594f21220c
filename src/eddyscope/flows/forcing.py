"""Forcings f of the vorticity equation (which has −f on its right-hand side), and their table."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Registry
from eddyscope.spectral.transform import Transform

__all__ = ["FORCINGS", "Deterministic", "NoForcing"]


class Steady:
    """What forcings that are not random have in common: no kicks."""

    def kick(self, omega_hat: NDArray[Any], step: int, dt: float) -> None:
        """Nothing is random in time."""

    kick_work = None


class NoForcing(Steady):
    """f = 0."""

    class Settings(Section):
        kind: Literal["none"] = "none"

    def __init__(
        self, settings: Settings, transform: Transform, response: Any = 1.0, seed: int = 0
    ):
        pass

    def add(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        """out += factor · f̂; factor broadcasts to the modes' axes (1, 1, kx, ky)."""


class Deterministic(Steady):
    """f = A [cos(k_f x) + cos(k_f y)], steady; either component may be left out."""

    class Settings(Section):
        kind: Literal["deterministic"] = "deterministic"
        wavenumber: int = Field(ge=1)
        """k_f."""
        components: list[Literal["x", "y"]] = Field(default=["x", "y"])
        """Which of cos(k_f x) and cos(k_f y) act."""
        amplitude: float | None = None
        """A; by default the wavenumber."""

        @field_validator("components")
        @classmethod
        def _some(cls, components: list[str]) -> list[str]:
            if not components or len(set(components)) != len(components):
                raise ValueError('give "x", "y" or both, each once; for none set kind = "none"')
            return components

    def __init__(
        self, settings: Settings, transform: Transform, response: Any = 1.0, seed: int = 0
    ):
        k = settings.wavenumber
        if k > transform.grid.k_max:
            raise CaseError(
                f"forcing.wavenumber = {k} is not resolved: a grid of n = {transform.grid.n} keeps "
                f"wavenumbers up to {transform.grid.k_max}; use a larger n or a smaller wavenumber"
            )
        amplitude = float(k) if settings.amplitude is None else settings.amplitude
        kx, ky = transform.kx, transform.ky
        # cos has two modes of half its amplitude; those with kx < 0 are not stored.
        along_x = (np.abs(kx) == k) & (ky == 0) & ("x" in settings.components)
        along_y = (kx == 0) & (np.abs(ky) == k) & ("y" in settings.components)
        self._modes = np.nonzero((along_x | along_y)[0, 0])
        strength = np.broadcast_to(
            0.5 * amplitude * np.asarray(response), (1, 1, *along_x.shape[2:])
        )
        self._f_hat = strength[0, 0][self._modes].astype(transform.grid.real)

    def add(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        """out += factor · f̂, at the few modes that are forced."""
        kx, ky = self._modes
        at_modes = factor[0, 0, kx, ky] if np.ndim(factor) else factor
        out[:, 0, kx, ky] += at_modes * self._f_hat


class Ring:
    """Random forcing of the modes of a ring, white in time, at a given input of energy.

    At the end of each step of length Δt every mode of the ring gets
    Δω̂ = k √(2 ε Δt / M) e^{iθ}, with M modes in the full plane and θ uniform. Each kick by
    itself carries ½ Σ |Δω̂|²/k² = ε Δt, so the mean input of energy is ε exactly.
    θ is keyed by (seed, member, step) and counted by the wavenumber, never by rank.
    """

    class Settings(Section):
        kind: Literal["ring"] = "ring"
        wavenumber: float = Field(gt=0.0)
        """k_f, the middle of the ring."""
        width: float = Field(default=2.0, gt=0.0)
        """Modes with |k − k_f| ≤ width/2 are forced."""
        energy_input: float = Field(gt=0.0)
        """ε, energy (mean |u|²/2) per unit time."""

    def __init__(
        self, settings: Settings, transform: Transform, response: Any = 1.0, seed: int = 0
    ):
        low, high = (
            settings.wavenumber - settings.width / 2,
            settings.wavenumber + settings.width / 2,
        )
        grid = transform.grid
        if high > grid.k_max:
            raise CaseError(
                f"forcing.wavenumber + width/2 = {high:g} is not resolved: a grid of n = {grid.n} "
                f"keeps wavenumbers up to {grid.k_max}; use a larger n or a lower ring"
            )
        half = _half_of_ring(low, high, grid.n)
        if not len(half):
            raise CaseError(
                f"forcing.width = {settings.width:g} leaves no mode between {low:g} and {high:g}; "
                "use a wider ring"
            )
        self._seed = seed
        self._first_member = transform.mesh.members.start
        self._count = len(half)
        k2 = (half**2).sum(axis=1)
        # Each mode of the half plane stands for itself and its conjugate.
        self._strength = np.sqrt(k2 * settings.energy_input / len(half))
        here = transform.spectral_block[2]
        # A mode with kx = 0 is stored with its conjugate; the others are stored alone.
        stored = [(i, kx, ky, False) for i, (kx, ky) in enumerate(half)]
        stored += [(i, 0, -ky, True) for i, (kx, ky) in enumerate(half) if kx == 0]
        mine = [
            (i, kx - here.start, ky, c) for i, kx, ky, c in stored if here.start <= kx < here.stop
        ]
        self._which = np.array([i for i, *_ in mine], dtype=np.intp)
        self._kx = np.array([kx for _, kx, *_ in mine], dtype=np.intp)
        self._ky = np.array([ky for _, _, ky, _ in mine], dtype=np.intp)
        self._conjugate = np.array([c for *_, c in mine], dtype=bool)
        whole = np.broadcast_to(np.asarray(response), (1, 1, *transform.spectral_shape[2:]))
        self._response = whole[0, 0][self._kx, self._ky]
        self.kick_work = np.zeros(transform.spectral_shape)

    def add(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        """Nothing: it acts by kicks."""

    def kick(self, omega_hat: NDArray[Any], step: int, dt: float) -> None:
        """ω̂ += Δω̂ of the step, and the work it does is added up."""
        for i in range(len(omega_hat)):
            key = np.array([self._seed, self._first_member + i], dtype=np.uint64)
            bits = np.random.Philox(key=key, counter=np.array([0, 0, step, 1], dtype=np.uint64))
            theta = np.random.Generator(bits).uniform(0.0, 2.0 * np.pi, self._count)
            change = (self._strength * np.sqrt(dt) * np.exp(1j * theta))[self._which]
            change = np.where(self._conjugate, change.conj(), change) * self._response
            before = omega_hat[i, 0, self._kx, self._ky]
            done = (before.conj() * change).real + 0.5 * np.abs(change) ** 2
            self.kick_work[i, 0, self._kx, self._ky] += done
            omega_hat[i, 0, self._kx, self._ky] = before + change


def _half_of_ring(low: float, high: float, n: int) -> NDArray[np.intp]:
    """(kx, ky) of one of each pair of conjugate modes with low ≤ |k| ≤ high, in a fixed order."""
    side = np.arange(-(n // 2) + 1, n // 2)
    kx, ky = np.meshgrid(side[side >= 0], side, indexing="ij")
    modulus = np.hypot(kx, ky)
    chosen = (modulus >= low) & (modulus <= high) & ((kx > 0) | (ky > 0))
    return np.stack([kx[chosen], ky[chosen]], axis=1)


FORCINGS: Registry[Any] = Registry(
    "forcing", {"none": NoForcing, "deterministic": Deterministic, "ring": Ring}
)
