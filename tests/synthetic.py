"""Small datasets made without a simulation, for tests of what reads datasets.

Random smooth fields with a power-law spectrum, and a subgrid term that is a known local
operator of them: pi = -c [psi_xy (omega_xx - omega_yy) - omega_xy (psi_xx - psi_yy)], the
leading term of the gradient model. The target's spectrum peaks at another wavenumber.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, create
from eddyscope.parallel.world import World, block
from eddyscope.spectral.grid import BOX
from eddyscope.stages.case import Case, load_case
from eddyscope.storage.seal import FOOTER, footer_of, seal

PEAK = {"base": 6.0, "target": 3.0}
"""Wavenumber at which each system's spectrum of psi turns over."""

CASE = """
name = "synthetic"
seed = 3
[grid]
n = 32
[time]
dt = 0.01
[filter]
n = [16]
[base.flow]
kind = "navier_stokes"
reynolds = 100.0
[base.ensemble]
members = 4
interval = 1.0
samples = 4
split = {train = 2, validation = 1, test = 1}
[target.flow]
kind = "navier_stokes"
reynolds = 100.0
[target.ensemble]
members = 5
interval = 1.0
samples = 3
split = {train = 2, validation = 1, test = 2}
[network]
depth = 3
width = 6
kernel_size = 3
[training]
epochs = 4
batch_size = 3
learning_rate = 3e-3
rotations = true
checkpoint_every = 2
[transfer]
samples = 3
epochs = 3
recipes = ["matched"]
[advise]
samples = 2
scores = ["relative_gradient", {kind = "linearised_gain", iterations = 4}]
default_score = "linearised_gain"
"""


def write_case(folder: Path) -> Path:
    """The case file above, in `folder`. Not collective."""
    path = folder / "synthetic.toml"
    path.write_text(CASE, encoding="utf-8")
    return path


def make_case(folder: Path, *overrides: str) -> Case:
    """The case above with `overrides`. Not collective."""
    return load_case(write_case(folder), overrides)


def write_datasets(case: Case, out: Path, world: World) -> None:
    """base/dataset.h5 and target/dataset.h5 under `out`, as `case` describes them. Collective."""
    for system in ("base", "target"):
        write_dataset(case, system, out / system / "dataset.h5", world)


def write_dataset(case: Case, system: str, path: Path, world: World) -> None:
    """One dataset. Collective."""
    ensemble = case.system(system).ensemble
    times = tuple(ensemble.spin_up + ensemble.interval * s for s in range(ensemble.samples))
    grids = {n: 2.0 * BOX / n for n in case.filter.n}
    layout = Layout(ensemble.members, times, times, case.grid.n // 2 - 1, grids)
    attributes: dict[str, Any] = {
        "case": json.dumps(case.resolved()),
        "system": system,
        "seed": case.seed,
        schema.VISCOSITY: 1.0 / case.system(system).flow.reynolds,
    }
    create(path, world.comm, layout, attributes)
    mine = block(ensemble.members, world.size, world.rank)
    spectrum = np.arange(1.0, layout.n_shells + 1) ** -3.0
    owned = range(mine.start, mine.stop)
    with DatasetWriter.opened(path, layout, world.comm, owned) as writer:
        for s in range(ensemble.samples):
            coarse = {
                n: {m: fields(n, PEAK[system], (case.seed, m, s)) for m in owned} for n in grids
            }
            spectra = {m: dict.fromkeys(schema.SPECTRA, spectrum) for m in owned}
            writer.add_sample(s, coarse, spectra)


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """A dataset's file, open to be changed by hand, and sealed again. Not collective."""
    note = json.loads(footer_of(path)[: -FOOTER.size])
    with h5py.File(path, "r+") as file:
        yield file
    seal(path, note["raw"])


def fields(n: int, peak: float, key: tuple[int, ...]) -> dict[str, np.ndarray]:
    """psi, omega and pi of one random flow, each (y, x)."""
    rng = np.random.default_rng(key)
    k = np.fft.fftfreq(n, 1.0 / n)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    k2 = kx**2 + ky**2
    keep = (np.abs(kx) < n // 2) & (np.abs(ky) < n // 2) & (k2 > 0)
    amplitude = np.where(keep, (1.0 + k2 / peak**2) ** -2.5, 0.0) * peak**-2.0
    psi_hat = np.fft.fft2(rng.standard_normal((n, n))) * amplitude

    def derivative(order_x: int, order_y: int, of: np.ndarray) -> np.ndarray:
        return np.fft.ifft2((1j * kx) ** order_x * (1j * ky) ** order_y * of).real

    omega_hat = k2 * psi_hat
    deformation = derivative(1, 1, psi_hat) * (
        derivative(2, 0, omega_hat) - derivative(0, 2, omega_hat)
    )
    deformation -= derivative(1, 1, omega_hat) * (
        derivative(2, 0, psi_hat) - derivative(0, 2, psi_hat)
    )
    pi = -((2.0 * BOX / n) ** 2) / 12.0 * deformation
    return {
        "psi": np.fft.ifft2(psi_hat).real,
        "omega": np.fft.ifft2(omega_hat).real,
        "pi": pi - pi.mean(),
    }
