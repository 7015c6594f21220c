"""Arrays that tests of `eddyscope import` share, and the command itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import synthetic
from eddyscope.__main__ import dispatch
from eddyscope.artefacts.dataset.reader import Dataset

MEMBERS, SAMPLES, N = 2, 3, 16
FIELDS = ("psi", "omega", "pi")
DIMS = ["--dims", "member,sample,y,x", "--interval", "0.5"]


def arrays(members: int = MEMBERS, samples: int = SAMPLES, n: int = N) -> dict[str, np.ndarray]:
    """psi, omega and pi of random flows, each (member, sample, y, x)."""
    made = [[synthetic.fields(n, 4.0, (7, m, s)) for s in range(samples)] for m in range(members)]
    return {k: np.array([[flow[k] for flow in member] for member in made]) for k in FIELDS}


def save(folder: Path, fields: dict[str, np.ndarray]) -> list[str]:
    """The arrays as .npy files, and the options that name them."""
    options = []
    for name, values in fields.items():
        np.save(folder / f"{name}.npy", values)
        options += [f"--{name}", str(folder / f"{name}.npy")]
    return options


def vorticity(n: int, *keys: int) -> np.ndarray:
    """A turbulent-looking vorticity (y, x) of all scales, without a mean."""
    rng = np.random.default_rng(keys)
    k = np.fft.fftfreq(n, 1.0 / n)
    k2 = k[:, None] ** 2 + k[None, : n // 2 + 1] ** 2
    hat = np.fft.rfft2(rng.standard_normal((n, n))) * k2 / (1.0 + k2 / 16.0) ** 1.5
    return np.fft.irfft2(hat, s=(n, n))


def run(out: Path, *words: str) -> Dataset:
    """`eddyscope import`, and what it made. Collective."""
    assert dispatch(["import", str(out), *words]) == 0
    return Dataset(out)
