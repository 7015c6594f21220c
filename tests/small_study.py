"""A small study that tests share: two flows, each once the base of the other."""

from __future__ import annotations

from pathlib import Path

FORWARD = """
name = "forward"
seed = 3
[grid]
n = 16
[time]
dt = 0.02
[filter]
n = [8]
[base.flow]
kind = "navier_stokes"
reynolds = 50.0
drag = 0.1
forcing = {kind = "deterministic", wavenumber = 3}
initial = {kind = "random", peak = 3.0, energy = 0.5}
[base.ensemble]
members = 4
spin_up = 0.04
interval = 0.04
samples = 2
split = {train = 2, validation = 0, test = 2}
[target.flow]
kind = "navier_stokes"
reynolds = 80.0
drag = 0.1
forcing = {kind = "deterministic", wavenumber = 2}
initial = {kind = "random", peak = 2.0, energy = 0.5}
[target.ensemble]
members = 4
spin_up = 0.04
interval = 0.04
samples = 2
split = {train = 2, validation = 0, test = 2}
[network]
depth = 2
width = 3
kernel_size = 3
[training]
epochs = 2
batch_size = 2
learning_rate = 3e-3
[transfer]
samples = 2
epochs = 2
controls = ["scale"]
"""

REVERSE = """
extends = "forward.toml"
name = "reverse"
[base.flow]
reynolds = 80.0
forcing = {kind = "deterministic", wavenumber = 2}
initial = {kind = "random", peak = 2.0, energy = 0.5}
[target.flow]
reynolds = 50.0
forcing = {kind = "deterministic", wavenumber = 3}
initial = {kind = "random", peak = 3.0, energy = 0.5}
"""

STUDY = """
name = "both"
cases = ["forward.toml", "reverse.toml"]
[[axes]]
training_seeds = [0, 1]
samples = [2]
[[axes]]
training_seeds = [0]
samples = [1]
"""


FEW = """
name = "few"
cases = ["forward.toml", "reverse.toml"]
[[axes]]
training_seeds = [0]
samples = [1]
"""
"""Two flows, two base models, two cells."""

ONE = FEW.replace(', "reverse.toml"', "").replace("[1]", "[1, 2]")
"""Two flows, one base model, two cells."""


def write_study(folder: Path, study: str = STUDY, **cases: str) -> Path:
    """The study above with its cases, in `folder`; cases: name -> text of further ones."""
    for name, text in {"forward": FORWARD, "reverse": REVERSE, **cases}.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    path = folder / "study.toml"
    path.write_text(study, encoding="utf-8")
    return path
