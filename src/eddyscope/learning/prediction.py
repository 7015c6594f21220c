"""What a model predicts, in physical units, on this rank alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch

from eddyscope.artefacts.dataset.schema import SYSTEMS
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import AnyArray, FloatArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import normalised_inputs
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.settings import field_of

__all__ = ["normalisations", "predict", "predict_tensors"]


def predict(
    network: LayeredModel,
    normalisation: Normalisation,
    values: Mapping[str, RealArray],
    batch_size: int = 16,
) -> FloatArray:
    """A network's outputs, (sample, output channel, y, x), in physical units.

    values: at least the fields that it takes, (sample, layer, y, x). It must be on the CPU.
    """
    channels, shape = network.channels, next(iter(values.values())).shape
    result = np.empty((shape[0], len(channels.outputs), *shape[2:]), np.float64)
    with torch.inference_mode():
        for start in range(0, shape[0], batch_size):
            part = slice(start, start + batch_size)
            chosen = {name: field[part] for name, field in values.items()}
            inputs = normalised_inputs(normalisation, chosen, channels)
            laid_out = inputs.contiguous(memory_format=network.memory_format)
            output = network(laid_out).double().numpy()
            for place, name in enumerate(channels.outputs):
                result[part, place] = normalisation.physical(name, output[:, place])
    return result


def predict_tensors(
    network: LayeredModel,
    normalisation: Normalisation,
    psi: AnyArray,
    omega: AnyArray,
    batch_size: int = 16,
) -> AnyArray:
    """`predict` of tensors ψ and ω (sample, layer, y, x), for a network that takes no other fields:
    they stay on their device, and the network goes there."""
    fields = {name: cast(torch.Tensor, field) for name, field in (("psi", psi), ("omega", omega))}
    network.module.to(fields["psi"].device)
    layers, channels = fields["psi"].shape[1], network.channels
    result = torch.empty_like(fields["psi"], dtype=torch.float64)
    with torch.no_grad():
        places = {name: field_of(name, layers) for name in channels.inputs}
        given = [
            _scaled(normalisation, name, fields[field][:, layer])
            for name, (field, layer) in places.items()
        ]
        inputs = torch.stack(given, dim=1).to(torch.float32)
        for start in range(0, len(inputs), batch_size):
            part = slice(start, start + batch_size)
            laid_out = inputs[part].contiguous(memory_format=network.memory_format)
            output = network(laid_out).double()
            for layer, name in enumerate(channels.outputs):
                result[part, layer] = output[:, layer] * normalisation.std[name]
    return cast(AnyArray, result)


def _scaled(normalisation: Normalisation, channel: str, field: torch.Tensor) -> torch.Tensor:
    """`Normalisation.scaled` of a tensor (sample, y, x)."""
    std: torch.Tensor | float = normalisation.std[channel]
    if normalisation.kind == "per_snapshot":
        std = field.std(dim=(1, 2), correction=0, keepdim=True)
    return (field - normalisation.mean[channel]) / std


def normalisations(base: Normalisation, target: Normalisation) -> dict[str, Normalisation]:
    """Ways to normalise the target's fields for the base model, by name.

    own: the target's statistics; base: the base system's; per_snapshot: psi and omega by
    each snapshot's own standard deviations, Π by the target's. Raises CaseError if mixed up.
    """
    if (base.system, target.system) != SYSTEMS:
        raise CaseError(
            f"the normalisations are of {base.system!r} and {target.system!r}, expected 'base' "
            "and 'target'; train and transfer again with --fresh"
        )
    return {"own": target, "base": base, "per_snapshot": target.per_snapshot()}
