"""Models from their files, as torch modules."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from eddyscope.api.checks import numbers
from eddyscope.artefacts.dataset.derived import require_fields, with_derived
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.config.files import as_path
from eddyscope.learning import models
from eddyscope.learning.prediction import predict
from eddyscope.networks.settings import Channels
from eddyscope.spectral.grid import BOX

__all__ = ["LoadedModel", "load_model"]


class LoadedModel(nn.Module):
    """A trained closure: Π of ψ̄ and ω̄, in physical units. Made by `eddyscope.load_model`.

    model(fields): torch tensors in physical units, channels `outputs` of channels `inputs`, axes
    (sample, channel, y, x); differentiable. model.predict(psi, omega): the same for numpy arrays.
    """

    def __init__(self, model: models.Model):
        super().__init__()
        self.network: nn.Module = model.network.module
        """In normalised variables: (x − mean)/std."""
        self.layers: Mapping[str, nn.Module] = model.network.layers
        """l01, l02, …: the submodules of `network` that can be re-trained."""
        self.name = str(model.key)
        """As in "base", "l02", "gain"."""
        self.inputs: tuple[str, ...] = model.network.channels.inputs
        self.outputs: tuple[str, ...] = model.network.channels.outputs
        self.n: int = model.record.grid.n
        """Points a side of the grid that it was trained on."""
        self.normalisation: Normalisation = model.normalisation
        """As the model's file holds it: its way `name`, `mean`, `std` and `scales` of channels."""
        self._model = model

    def forward(self, fields: Tensor) -> Tensor:
        """Outputs in physical units, (sample, output channel, y, x). CaseError for anything but a
        tensor of the input channels."""
        shape = tuple(fields.shape) if isinstance(fields, Tensor) else type(fields).__name__
        if not isinstance(fields, Tensor) or fields.dim() != 4 or len(self.inputs) != shape[1]:
            raise CaseError(
                f"fields: {shape}; give a torch tensor (sample, channel, y, x) with the channels "
                f"{', '.join(self.inputs)}"
            )
        by = self.normalisation
        given = [by.scaled(name, fields[:, i]) for i, name in enumerate(self.inputs)]
        output: Tensor = self.network(torch.stack(given, dim=1))
        made = [by.physical(name, output[:, i]) for i, name in enumerate(self.outputs)]
        return torch.stack(made, dim=1)

    def predict(self, psi: AnyArray, omega: AnyArray) -> FloatArray:
        """Π of ψ̄ and ω̄, all (y, x), (sample, y, x) or (sample, layer, y, x), float64; it may be
        the closure of an `eddyscope.Solver`. CaseError on another grid than the model's."""
        psi, omega = numbers(psi, "psi"), numbers(omega, "omega")
        shape = psi.shape
        if shape != omega.shape or len(shape) not in (2, 3, 4) or shape[-2:] != (self.n,) * 2:
            raise CaseError(
                f"psi and omega have shapes {shape} and {omega.shape}; give both as (y, x), "
                f"(sample, y, x) or (sample, layer, y, x) on {self.n} x {self.n} points: kernels "
                "reach a number of points, not a length"
            )
        layers = shape[1] if len(shape) == 4 else 1
        if self.outputs != Channels.of_fields((), ("pi",), layers).outputs:
            raise CaseError(
                f"model {self.name} gives {', '.join(self.outputs)}, not pi of {layers} layers; "
                "call it with a tensor of its own inputs instead, model(fields)"
            )
        psi, omega = (np.reshape(field, (-1, layers, *shape[-2:])) for field in (psi, omega))
        names = [name for name in self._model.network.channels.fields(layers) if name != "pi"]
        known = {"psi": psi, "omega": omega}
        require_fields(names, ["psi", "omega"], (True, True), layers, f"model {self.name}'s input")
        values = with_derived(known, names, (BOX, BOX))
        pi = predict(self._model.network, self.normalisation, values)
        return pi.reshape(shape)


def load_model(path: str | os.PathLike[str]) -> LoadedModel:
    """A model that `train` or `transfer` made, on the CPU, ready to predict.

    Raises CaseError for a file that is missing, damaged or no model.

    >>> import eddyscope, torch
    >>> model = eddyscope.load_model("runs/quickstart/models/base.safetensors")
    >>> model.inputs, model.outputs
    (('psi', 'omega'), ('pi',))
    >>> pi = model(torch.zeros(1, 2, model.n, model.n))   # (sample, channel, y, x)
    """
    loaded = LoadedModel(models.load_model(as_path(path)))
    loaded.eval()
    return loaded
