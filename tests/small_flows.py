"""Small flows, states and cases that the solver's tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eddyscope.flows.initial import RandomSpectrum
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.world import World
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import kept_modes
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import Transform
from eddyscope.stages.case import Case, load_case

CASE = """
name = "small"
seed = 5
[grid]
n = 16
[time]
dt = 0.01
[filter]
n = [8]
[checkpoint]
seconds = 0
[base.flow]
kind = "navier_stokes"
reynolds = 100.0
drag = 0.1
forcing = {kind = "deterministic", wavenumber = 3}
initial = {kind = "random", peak = 3.0, energy = 0.5}
[base.ensemble]
members = 2
spin_up = 0.02
interval = 0.04
samples = 3
diagnostics = 2
"""


def write_case(folder: Path, text: str = CASE, name: str = "case.toml") -> Path:
    """A case file in `folder`. Not collective."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def make_case(folder: Path, *overrides: str) -> Case:
    """The case above with `overrides`. Not collective."""
    return load_case(write_case(folder), overrides)


def make_transform_on(
    world: World,
    n: int,
    members: int = 1,
    mesh: tuple[int, int] | None = None,
    precision: str = "float64",
    dealias: float = 1.5,
    kind: str = "fftw",
    layers: int = 1,
) -> Transform:
    """A transform of `members` fields of n modes. Collective."""
    grid = Grid(n, dealias, precision)
    shared = world.mesh(members, n // 2, mesh)
    return TRANSFORMS.build(TRANSFORMS.settings(kind), grid, shared, layers)


def make_flow(transform: Transform, kind: str = "navier_stokes", **settings: Any) -> Any:
    """A flow as a case file would describe it, with Re = 100 unless given."""
    tree = {"kind": kind, "reynolds": 100.0, **settings}
    return FLOWS.build(FLOWS[kind].Settings.model_validate(tree), transform)


def alone(n: int, **settings: Any) -> Any:
    """A flow of one member on this rank alone."""
    return make_flow(make_transform_on(World.single(), n), **settings)


def random_coefficients(n: int, member: int = 0, peak: float = 3.0, energy: float = 0.5) -> Any:
    """Half plane (ky, kx) of a smooth random vorticity."""
    settings = RandomSpectrum.Settings(peak=peak, energy=energy)
    return RandomSpectrum(settings, seed=11).coefficients(n, member)


def state_of(transform: Transform, **settings: float) -> Any:
    """Random vorticity of every local member, as the transform lays it out."""
    omega_hat = transform.zeros_spectral()
    first = transform.mesh.members.start
    for i in range(len(omega_hat)):
        whole = random_coefficients(transform.grid.n, first + i, **settings)
        omega_hat[i] = transform.take(whole)
    return omega_hat


def from_points(transform: Transform, omega: Any) -> Any:
    """Coefficients of one member from its values on n × n points, axes (y, x) or (layer, y, x);
    Nyquist modes are dropped."""
    omega_hat = transform.zeros_spectral()
    omega_hat[0] = transform.take(kept_modes(omega))
    return omega_hat


def to_points(transform: Transform, omega_hat: Any) -> Any:
    """The first member's values on n × n points. This rank alone."""
    n = transform.grid.n
    return np.fft.irfft2(transform.gather(omega_hat, n)[0][0], s=(n, n), norm="forward")


FFTW = TRANSFORMS.settings("fftw")
"""The default transform's settings."""


def points(n: int) -> tuple[Any, Any]:
    """x and y of the n × n points, axes (y, x)."""
    line = np.arange(n) * (2.0 * np.pi / n)
    return np.meshgrid(line, line)


def advance(flow: Any, scheme: str, omega_hat: Any, dt: float, steps: int, first: int = 0) -> Any:
    """A copy of the state after some steps of a scheme from its start, without closure."""
    state = flow.transform.zeros_spectral()
    state[...] = omega_hat
    stepper = make_scheme(scheme, flow, dt)
    for step in range(first, first + steps):
        stepper.step(state, step * dt, step, NoClosure().pi_hat)
    return state


def make_scheme(name: str, flow: Any, dt: float) -> Any:
    """A time-stepping scheme with its settings by default."""
    return SCHEMES.build(SCHEMES.settings(name), flow, dt)


def relative(found: Any, expected: Any) -> float:
    """Distance in L2, relative to the expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def contents(path: Path) -> dict[str, bytes]:
    """Every array of an HDF5 file, bit by bit (NaN equals NaN)."""
    found: dict[str, bytes] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item[()]).tobytes()

    with h5py.File(path, "r", locking=False) as file:
        file.visititems(visit)
    return found


def assert_same_arrays(found: Path, expected: Path) -> None:
    """The two files hold the same arrays, bit for bit."""
    ours, theirs = contents(found), contents(expected)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if ours[name] != theirs[name]]
    assert not different, f"{found} differs from {expected} in {', '.join(different)}"
