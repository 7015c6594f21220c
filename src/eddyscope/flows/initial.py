"""Initial vorticity of each member, and the table of choices.

Random phases are drawn from counter-based generators keyed by (seed, member), in the order
of the global wavenumber, so they do not depend on how fields are laid out on the ranks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eddyscope.config.case import CaseError, Section
from eddyscope.config.registry import Registry
from eddyscope.parallel.hdf5 import open_to_read

__all__ = ["INITIALS", "FromFile", "Initial", "RandomSpectrum"]


class Initial(Protocol):
    """Gives the initial vorticity of one member; not collective, the same on every rank."""

    def coefficients(self, n: int, member: int) -> NDArray[np.complex128]:
        """Fourier coefficients on the half plane, axes (ky, kx), shape (n, n/2 + 1).

        ky runs as in numpy's fftfreq; forward is normalised; the Nyquist modes are zero.
        """


class RandomSpectrum:
    """E(k) = A k⁴ exp(−(k/k_p)²) with random phases; A = 4 k_p⁻⁵ / (3π) unless `energy` is given.

    The spectrum of the paper's decaying runs and of the spin-up of its forced ones.
    """

    class Settings(Section):
        kind: Literal["random"] = "random"
        peak: float = Field(default=10.0, gt=0.0)
        """k_p."""
        energy: float | None = Field(default=None, gt=0.0)
        """Kinetic energy (mean |u|²/2) that the field is scaled to."""

    def __init__(self, settings: Settings, seed: int):
        self.settings = settings
        self.seed = seed

    def coefficients(self, n: int, member: int) -> NDArray[np.complex128]:
        k, phases = _modulus(n), _random_phases(n, self.seed, member)
        peak = self.settings.peak
        spectrum = 4.0 * peak**-5 / (3.0 * np.pi) * k**4 * np.exp(-((k / peak) ** 2))
        # E(k) = ½ |ω̂|²/k² on each of about 2πk modes of its shell.
        omega_hat = np.sqrt(k * spectrum / np.pi) * phases
        return _scaled(omega_hat, self.settings.energy)


class FromFile:
    """Vorticity from HDF5 or .npy: shape (y, x), the same for all members, or (member, y, x)."""

    class Settings(Section):
        kind: Literal["file"] = "file"
        path: str
        """File with vorticity on its own n × n points: HDF5, or .npy."""
        dataset: str = "omega"
        """Name of the dataset within an HDF5 file."""

    def __init__(self, settings: Settings, seed: int):
        self.path = Path(settings.path)
        self.omega = self._read(settings)
        shape = self.omega.shape
        if self.omega.ndim not in (2, 3) or shape[-1] != shape[-2] or self.omega.dtype.kind != "f":
            raise CaseError(
                f"{self.path}: initial vorticity has shape {shape} and type {self.omega.dtype}; "
                "give floating-point numbers of shape (n, n) or (member, n, n)"
            )
        if not np.isfinite(self.omega).all():
            bad = int(np.size(self.omega) - np.isfinite(self.omega).sum())
            raise CaseError(f"{self.path}: the initial vorticity has {bad} non-finite values")

    def _read(self, settings: Settings) -> NDArray[Any]:
        if self.path.suffix == ".npy":
            try:
                loaded: NDArray[Any] = np.load(self.path, allow_pickle=False)
                return loaded
            except FileNotFoundError:
                raise CaseError(f"{self.path}: no such initial field") from None
            except (OSError, ValueError, EOFError) as error:
                raise CaseError(f"{self.path}: not a readable .npy file ({error})") from None
        with open_to_read(self.path, "initial field") as file:
            if settings.dataset not in file or not hasattr(file[settings.dataset], "shape"):
                raise CaseError(
                    f"{self.path}: no dataset {settings.dataset!r}; it has {sorted(file)}; "
                    "set initial.dataset"
                )
            found: NDArray[Any] = file[settings.dataset][()]
            return found

    def coefficients(self, n: int, member: int) -> NDArray[np.complex128]:
        if self.omega.ndim == 3 and member >= len(self.omega):
            raise CaseError(
                f"{self.path}: holds {len(self.omega)} members, but the ensemble has at least "
                f"{member + 1}; lower ensemble.members or give a file with more"
            )
        omega = self.omega if self.omega.ndim == 2 else self.omega[member]
        if omega.shape[0] != n:
            raise CaseError(
                f"{self.path}: the initial vorticity is on {omega.shape[0]}² points, "
                f"but grid.n = {n}"
            )
        omega_hat = np.fft.rfft2(omega.astype(np.float64)) / omega.size
        return _without_nyquist(omega_hat)


INITIALS: Registry[Any] = Registry(
    "initial condition", {"random": RandomSpectrum, "file": FromFile}
)


def _modulus(n: int) -> NDArray[np.float64]:
    ky = np.fft.fftfreq(n, 1.0 / n)[:, None]
    kx = np.arange(n // 2 + 1)[None, :]
    k: NDArray[np.float64] = np.hypot(ky, kx)
    return k


def _random_phases(n: int, seed: int, member: int) -> NDArray[np.complex128]:
    """Unit phases e^{iθ} of a real field, θ uniform; independent of n for modes they share."""
    half = n // 2
    phases = np.zeros((n, half + 1), dtype=complex)
    # One stream a shell max(|kx|, |ky|), so that a finer grid only adds streams.
    for shell in range(1, half):
        key = np.random.SeedSequence([seed, member, shell])
        theta = np.random.Generator(np.random.Philox(key)).uniform(0.0, 2.0 * np.pi, 4 * shell)
        unit = np.exp(1j * theta)
        side = np.arange(-shell, shell + 1)
        phases[side, shell] = unit[: 2 * shell + 1]
        top = np.arange(shell)
        phases[shell, top] = unit[2 * shell + 1 : 3 * shell + 1]
        phases[-shell, top[1:]] = unit[3 * shell + 1 :]
        phases[-shell, 0] = np.conj(phases[shell, 0])
    return phases


def _without_nyquist(omega_hat: NDArray[Any]) -> NDArray[np.complex128]:
    half = omega_hat.shape[0] // 2
    omega_hat[half, :] = 0
    omega_hat[:, half] = 0
    omega_hat[0, 0] = 0
    return omega_hat


def _scaled(omega_hat: NDArray[np.complex128], energy: float | None) -> NDArray[np.complex128]:
    """The field with its energy, Σ ½ |ω̂|²/k² over the full plane, scaled to `energy`."""
    omega_hat = _without_nyquist(omega_hat)
    if energy is None:
        return omega_hat
    k = _modulus(omega_hat.shape[0])
    weight = np.where(np.arange(k.shape[1]) > 0, 2.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.where(k > 0, 0.5 * weight * np.abs(omega_hat) ** 2 / k**2, 0.0)
    omega_hat *= np.sqrt(energy / density.sum())
    return omega_hat
