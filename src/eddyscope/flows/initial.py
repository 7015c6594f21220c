"""Initial vorticity of each member, and the table of choices.

Random phases are drawn from counter-based generators keyed by (seed, member, layer), in the order
of the global wavenumber, so they do not depend on how fields are laid out on the ranks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import Field

from eddyscope.artefacts.dataset.layout import Box
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.arrays import AnyArray, ComplexArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.files import FileName, require_file
from eddyscope.config.registry import Registry
from eddyscope.config.streams import stream
from eddyscope.config.units import LENGTH, Unit
from eddyscope.spectral.half_plane import (
    from_columns,
    interpolated,
    modulus,
    to_modes,
    wavenumbers,
    weights,
    without_nyquist,
)
from eddyscope.spectral.transform import Transform
from eddyscope.storage.checked import read_checked
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.seal import is_sealed

__all__ = ["INITIALS", "FromFile", "Initial", "RandomSpectrum", "initialise"]


TOO_FAINT = 1e-200
"""Below it a spectrum's sum cannot be scaled to an energy: its square would be lost."""


class InitialSettings(Section):
    """What the settings of all initial conditions have; each adds `kind`, a Literal of its name."""

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that it is read from: they decide a run, beside its settings."""
        return ()


class FileSettings(InitialSettings):
    """Those of initial conditions that are read from one file; each adds what it is."""

    path: FileName

    @property
    def reads(self) -> tuple[Path, ...]:
        return (Path(self.path),)


class Initial(Protocol):
    """Gives the initial vorticity of one layer of one member; not collective, the same on every
    rank. Made from (settings, seed), the seed the system's."""

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        """Fourier coefficients on the half plane, axes (ky, kx), shape (n, n/2 + 1), see
        `spectral/half_plane.py`; the Nyquist modes are zero."""

    def check(self, n: int, members: int, layers: int = 1) -> None:
        """Raise CaseError where `coefficients` of so many members and layers on n modes would.

        Nothing is computed. Not collective.
        """


class OfAnyGrid:
    """What initial conditions that suit all grids and ensembles have in common."""

    def check(self, n: int, members: int, layers: int = 1) -> None:
        """There is nothing to refuse."""


class RandomSpectrum:
    """E(k) = A k⁴ exp(−(k/k_p)²) with random phases; A = 4 k_p⁻⁵ / (3π) unless `energy` is given.

    The spectrum of the paper's decaying runs and of the spin-up of its forced ones.
    """

    class Settings(InitialSettings):
        kind: Literal["random"] = "random"
        peak: Annotated[float, Unit("1/L")] = Field(default=10.0, gt=0.0)
        """k_p."""
        energy: Annotated[float | None, Unit("L²/T²")] = Field(default=None, gt=0.0)
        """Kinetic energy (mean |u|²/2) that the field is scaled to."""

    def __init__(self, settings: Settings, seed: int):
        self.settings = settings
        self.seed = seed

    def check(self, n: int, members: int, layers: int = 1) -> None:
        peak, line = self.settings.peak, np.arange(1.0, n // 2)
        shape = (line / peak) ** 4 * np.exp(-((line / peak) ** 2))
        if self.settings.energy is not None and not np.sum(shape) > TOO_FAINT:
            raise CaseError(
                f"initial.peak = {peak:g} leaves no energy on the wavenumbers 1 … {n // 2 - 1} of "
                f"n = {n} that could be scaled to initial.energy; use a peak among them"
            )

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        k, phases = modulus(n), _random_phases(n, self.seed, member, layer)
        peak = self.settings.peak
        spectrum = 4.0 * peak**-5 / (3.0 * np.pi) * k**4 * np.exp(-((k / peak) ** 2))
        # E(k) = ½ |ω̂|²/k² on each of about 2πk modes of its shell.
        omega_hat = np.sqrt(k * spectrum / np.pi) * phases
        return _scaled(omega_hat, self.settings.energy)


class FromFile:
    """Vorticity from HDF5 or .npy: shape (y, x), the same for all members and layers,
    (member, y, x), the same for all layers, or (member, layer, y, x)."""

    class Settings(FileSettings):
        kind: Literal["file"] = "file"
        path: FileName
        """File with vorticity on its own n × n points: HDF5, or .npy."""
        dataset: str = "omega"
        """Name of the dataset within an HDF5 file."""

    def __init__(self, settings: Settings, seed: int):
        self.path = Path(settings.path)
        self.omega = self._read(settings)
        shape, fits = self.omega.shape, self.omega.ndim in (2, 3, 4) and self.omega.size > 0
        if not (
            fits and shape[-1] == shape[-2] and shape[-1] % 2 == 0 and self.omega.dtype.kind == "f"
        ):
            raise CaseError(
                f"{self.path}: initial vorticity has shape {shape} and type {self.omega.dtype}; "
                "give floating-point numbers of shape (n, n), (member, n, n) or "
                "(member, layer, n, n), n even and not 0"
            )
        if not np.isfinite(self.omega).all():
            bad = int(np.size(self.omega) - np.isfinite(self.omega).sum())
            raise CaseError(f"{self.path}: the initial vorticity has {bad} non-finite values")

    def _read(self, settings: Settings) -> AnyArray:
        if self.path.suffix == ".npy":
            require_file(self.path, "initial field")
            try:
                loaded: AnyArray = np.load(self.path, allow_pickle=False)
                return loaded
            except (OSError, ValueError, EOFError) as error:
                raise CaseError(f"{self.path}: not a readable .npy file ({error})") from None
        with open_to_read(self.path, "initial field") as file:
            if settings.dataset not in file or not hasattr(file[settings.dataset], "shape"):
                raise CaseError(
                    f"{self.path}: no dataset {settings.dataset!r}; it has {sorted(file)}; "
                    "set initial.dataset"
                )
            found: AnyArray = file[settings.dataset][()]
            return found

    def check(self, n: int, members: int, layers: int = 1) -> None:
        _require(self.path, self.omega.shape[:-2], members, layers)

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        self.check(n, member + 1, layer + 1)
        return _coefficients_of(self.omega, n, member, layer)


class McWilliams(OfAnyGrid):
    """Random phases with |ψ̂|² ∝ 1/(k [1 + (k/6)⁴]), scaled to an energy (½ by default).

    McWilliams, "The emergence of isolated coherent vortices in turbulent flow", JFM 146 (1984).
    """

    class Settings(InitialSettings):
        kind: Literal["mcwilliams"] = "mcwilliams"
        peak: Annotated[float, Unit("1/L")] = Field(default=6.0, gt=0.0)
        """Wavenumber at which the spectrum turns."""
        energy: Annotated[float, Unit("L²/T²")] = Field(default=0.5, gt=0.0)
        """Kinetic energy, mean |u|²/2."""

    def __init__(self, settings: Settings, seed: int):
        self.settings = settings
        self.seed = seed

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        k = np.where(modulus(n) > 0, modulus(n), np.inf)
        psi = 1.0 / np.sqrt(k * (1.0 + (k / self.settings.peak) ** 4))
        phases = _random_phases(n, self.seed, member, layer)
        omega_hat = np.where(np.isfinite(k), k, 0.0) ** 2 * psi * phases
        return _scaled(omega_hat, self.settings.energy)


class TaylorGreen:
    """ω = 2 k U cos(kx) cos(ky), the same for all members: decays as exp(−2νk²t), exactly."""

    class Settings(InitialSettings):
        kind: Literal["taylor_green"] = "taylor_green"
        wavenumber: Annotated[int, Unit("1/L")] = Field(default=1, ge=1)
        """k."""
        velocity: Annotated[float, Unit("L/T")] = Field(default=1.0, gt=0.0)
        """U, the largest velocity along each axis."""

    def __init__(self, settings: Settings, seed: int):
        self.settings = settings

    def check(self, n: int, members: int, layers: int = 1) -> None:
        k = self.settings.wavenumber
        if k > n // 2 - 1:
            raise CaseError(
                f"initial.wavenumber = {k} is not resolved: n = {n} keeps up to {n // 2 - 1}; "
                "use a larger n or a smaller wavenumber"
            )

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        self.check(n, member + 1, layer + 1)
        k = self.settings.wavenumber
        omega_hat = np.zeros((n, n // 2 + 1), dtype=complex)
        omega_hat[[k, -k], k] = 0.5 * k * self.settings.velocity
        return omega_hat


class VortexPair(OfAnyGrid):
    """Two Gaussian vortices side by side, ω = Γ/(2πa²) [exp(−r₁²/2a²) ± exp(−r₂²/2a²)] − mean.

    A pair of one sign merges if it is close; a pair of opposite signs travels.
    """

    class Settings(InitialSettings):
        kind: Literal["vortex_pair"] = "vortex_pair"
        separation: Annotated[float, LENGTH] = Field(default=1.5, gt=0.0, lt=6.0)
        """Distance between the centres."""
        radius: Annotated[float, LENGTH] = Field(default=0.4, gt=0.0, lt=2.0)
        """a."""
        circulation: Annotated[float, Unit("L²/T")] = 6.283185307179586
        """Γ of the first vortex."""
        opposite: bool = False
        """Whether the second turns the other way."""

    def __init__(self, settings: Settings, seed: int):
        self.settings = settings

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        # Coefficients of the periodic sum of Gaussians: Γ/(4π²) exp(−k²a²/2 − i k·x₀).
        settings = self.settings
        kx, ky = wavenumbers(n)
        shape = (
            settings.circulation
            / (4 * np.pi**2)
            * np.exp(-0.5 * (modulus(n) * settings.radius) ** 2)
        )
        offset = 0.5 * settings.separation
        first = np.exp(-1j * (kx * (np.pi - offset) + ky * np.pi))
        second = np.exp(-1j * (kx * (np.pi + offset) + ky * np.pi))
        sign = -1.0 if settings.opposite else 1.0
        return without_nyquist(shape * (first + sign * second))


class FromDataset:
    """The filtered vorticity of a dataset: member m starts from its member m, at one sample.

    Filtered fields carry no scales below their own grid's; those of the new run start at zero.
    """

    class Settings(FileSettings):
        kind: Literal["dataset"] = "dataset"
        path: FileName
        """A dataset.h5 of `eddyscope dns`."""
        n: int
        """Coarse grid to read."""
        sample: int = Field(default=-1)
        """Sample number; negative counts from the end."""

    def __init__(self, settings: Settings, seed: int):
        self.path = Path(settings.path)
        dataset = Dataset(self.path)
        if settings.n not in dataset.grids:
            raise CaseError(
                f"{self.path}: no grid of initial.n = {settings.n}; it has "
                f"{', '.join(map(str, dataset.grids))}"
            )
        if dataset.box != Box() or "omega" not in dataset.fields:
            raise CaseError(
                f"{self.path}: holds {', '.join(dataset.fields)} in a box {dataset.box}; a run "
                "starts from omega in the periodic box 2π x 2π: give a dataset that has it"
            )
        samples = dataset.samples
        if not -samples <= settings.sample < samples:
            raise CaseError(
                f"{self.path}: initial.sample = {settings.sample}, but it has {samples} samples; "
                f"use one from 0 to {samples - 1}, or a negative one, counted from the end"
            )
        number = settings.sample % samples
        omega = dataset.read(settings.n, "omega", samples=slice(number, number + 1))[:, 0]
        self.omega = omega if dataset.layers > 1 else omega[:, 0]

    def check(self, n: int, members: int, layers: int = 1) -> None:
        _require(self.path, self.omega.shape[:-2], members, layers)

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        self.check(n, member + 1, layer + 1)
        return _coefficients_of(self.omega, n, member, layer)


class FromCheckpoint:
    """The state in a checkpoint of another run, spectrally interpolated to this grid."""

    class Settings(FileSettings):
        kind: Literal["checkpoint"] = "checkpoint"
        path: FileName
        """A step-….h5 of another run's checkpoints/."""

    def __init__(self, settings: Settings, seed: int):
        self.path = Path(settings.path)
        require_file(self.path, "checkpoint")
        if not is_sealed(self.path):
            raise CaseError(
                f"{self.path}: not a readable checkpoint (its seal is missing or broken: it is not "
                "a checkpoint of eddyscope, or cut short, or damaged); give another of its run"
            )
        with open_to_read(self.path, "checkpoint") as file:
            if "omega_hat" not in file:
                raise CaseError(f"{self.path}: not a checkpoint: it has no omega_hat")
            self.shape = tuple(file["omega_hat"].shape)

    def check(self, n: int, members: int, layers: int = 1) -> None:
        _require(self.path, self.shape[:2], members, layers)

    def coefficients(self, n: int, member: int, layer: int = 0) -> ComplexArray:
        self.check(n, member + 1, layer + 1)
        with open_to_read(self.path, "checkpoint") as file:
            columns = read_checked(file, "omega_hat", (member, layer))
        return interpolated(from_columns(columns), n)


INITIALS: Registry[Initial] = Registry(
    "initial condition",
    {
        "random": RandomSpectrum,
        "mcwilliams": McWilliams,
        "taylor_green": TaylorGreen,
        "vortex_pair": VortexPair,
        "file": FromFile,
        "dataset": FromDataset,
        "checkpoint": FromCheckpoint,
    },
)


def initialise(omega_hat: ComplexArray, transform: Transform, initial: Initial) -> None:
    """Set the vorticity (member, layer, kx, ky) of each local member. Not collective."""
    first, n = transform.mesh.members.start, transform.grid.n
    for i, layer in np.ndindex(omega_hat.shape[:2]):
        omega_hat[i, layer] = transform.take(initial.coefficients(n, first + i, layer))


def _require(path: Path, counts: tuple[int, ...], members: int, layers: int) -> None:
    """CaseError unless a file that holds so many (members, layers), or but members, or one field
    for all, has as many as are wanted."""
    for axis, count, wanted in zip(("member", "layer"), counts, (members, layers), strict=False):
        if wanted > count:
            remedy = "lower ensemble.members or " if axis == "member" else ""
            raise CaseError(
                f"{path}: holds {count} {axis}s, but the ensemble has at least {wanted}; "
                f"{remedy}give a file with more"
            )


def _coefficients_of(omega: AnyArray, n: int, member: int, layer: int) -> ComplexArray:
    """Coefficients of one layer of one member of vorticity (y, x), (member, y, x) or (member,
    layer, y, x), interpolated to n modes."""
    field = omega[(member, layer)[: omega.ndim - 2]]
    return interpolated(to_modes(field.astype(np.float64)), n)


def _random_phases(n: int, seed: int, member: int, layer: int) -> ComplexArray:
    """Unit phases e^{iθ} of a real field, θ uniform; independent of n for modes they share."""
    half = n // 2
    phases = np.zeros((n, half + 1), dtype=complex)
    # One stream a shell max(|kx|, |ky|), so that a finer grid only adds streams.
    for shell in range(1, half):
        theta = stream("phases", seed, member, layer, shell).uniform(0.0, 2.0 * np.pi, 4 * shell)
        unit = np.exp(1j * theta)
        side = np.arange(-shell, shell + 1)
        phases[side, shell] = unit[: 2 * shell + 1]
        top = np.arange(shell)
        phases[shell, top] = unit[2 * shell + 1 : 3 * shell + 1]
        phases[-shell, top[1:]] = unit[3 * shell + 1 :]
        phases[-shell, 0] = np.conj(phases[shell, 0])
    return phases


def _scaled(omega_hat: ComplexArray, energy: float | None) -> ComplexArray:
    """The field with its energy, Σ ½ |ω̂|²/k² over the full plane, scaled to `energy`."""
    omega_hat = without_nyquist(omega_hat)
    if energy is None:
        return omega_hat
    n = len(omega_hat)
    k, weight = modulus(n), weights(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.where(k > 0, 0.5 * weight * np.abs(omega_hat) ** 2 / k**2, 0.0)
    omega_hat *= np.sqrt(energy / density.sum())
    return omega_hat
