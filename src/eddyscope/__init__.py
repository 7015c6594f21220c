"""eddyscope: which layers of a turbulence closure to re-train, and what physics they learn.

    import eddyscope

    case = eddyscope.load_case("case.toml")                  # settings, validated
    data = eddyscope.open_dataset("target/dataset.h5")       # an xarray.DataTree
    psi, omega, pi = eddyscope.subgrid(vorticity, n=64)      # Π of numpy arrays
    run = eddyscope.Solver(flow, n=64)                       # run.advance(1.0); run.omega
    model = eddyscope.load_model("models/base.safetensors")  # a torch module
    eddyscope.kernel_spectra(module)                         # of any torch module, as
    eddyscope.activation_spectra(module, layers, inputs)     # … the next two
    eddyscope.advise(module, layers, inputs, targets)        # its layers, ranked

What is wrong with what is given is a `CaseError` of one line. Importing this package imports
nothing else: each function brings what it needs when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eddyscope.api.data import open_dataset
    from eddyscope.api.fields import Filtered, subgrid
    from eddyscope.api.layers import LayerAdvice, activation_spectra, advise, kernel_spectra
    from eddyscope.api.models import LoadedModel, load_model
    from eddyscope.api.run import Solver
    from eddyscope.config.errors import CaseError
    from eddyscope.parallel.failure import BlewUp
    from eddyscope.stages.case import load_case

    __version__: str

__all__ = [
    "BlewUp",
    "CaseError",
    "Filtered",
    "LayerAdvice",
    "LoadedModel",
    "Solver",
    "activation_spectra",
    "advise",
    "kernel_spectra",
    "load_case",
    "load_model",
    "open_dataset",
    "subgrid",
]

HOMES = {
    "BlewUp": "parallel.failure",
    "CaseError": "config.errors",
    "Filtered": "api.fields",
    "LayerAdvice": "api.layers",
    "LoadedModel": "api.models",
    "Solver": "api.run",
    "activation_spectra": "api.layers",
    "advise": "api.layers",
    "kernel_spectra": "api.layers",
    "load_case": "stages.case",
    "load_model": "api.models",
    "open_dataset": "api.data",
    "subgrid": "api.fields",
}
"""Public name -> the module that it is in."""


def __getattr__(name: str) -> object:
    """What is public, from the module that it is in."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("eddyscope")
    if name not in HOMES:
        raise AttributeError(f"module 'eddyscope' has no attribute {name!r}")
    return getattr(importlib.import_module(f"eddyscope.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
