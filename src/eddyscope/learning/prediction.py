"""What a model predicts, in physical units, on this rank alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import AnyArray, FloatArray, RealArray
from eddyscope.learning.batches import normalised_inputs
from eddyscope.networks.base import LayeredModel

__all__ = ["predict", "predict_tensors"]

POINTS = 2**22
"""Points of a batch on a device: 64 channels of activations are 1 GiB then."""


def predict(
    network: LayeredModel,
    normalisation: Normalisation,
    values: Mapping[str, RealArray],
    batch_size: int = 16,
) -> FloatArray:
    """A network's outputs, (sample, output channel, y, x), in physical units.

    values: at least the fields that it takes, (sample, layer, y, x). Batches go to the device that
    the network is on, and what it gives comes back.
    """
    shape = next(iter(values.values())).shape
    result = np.empty((shape[0], len(network.channels.outputs), *shape[2:]), np.float64)
    _predict_into(torch.from_numpy(result), network, normalisation, values, batch_size)
    return result


def predict_tensors(
    network: LayeredModel,
    normalisation: Normalisation,
    psi: AnyArray,
    omega: AnyArray,
    points: int = POINTS,
) -> AnyArray:
    """`predict` of tensors ψ and ω (sample, layer, y, x), for a network that takes no other fields:
    they stay on their device, and the network goes there.

    points: of all samples that it is given at once, at the most."""
    result = torch.empty_like(cast(Tensor, psi), dtype=torch.float64)
    if network.device != result.device:
        network.to(result.device)
    batch_size = max(1, points // math.prod(result.shape[-2:]))
    _predict_into(result, network, normalisation, {"psi": psi, "omega": omega}, batch_size)
    return cast(AnyArray, result)


def _predict_into(
    result: Tensor,
    network: LayeredModel,
    normalisation: Normalisation,
    values: Mapping[str, AnyArray],
    batch_size: int,
) -> None:
    """Write what `predict` gives, of arrays or tensors, some samples at a time."""
    channels = network.channels
    with torch.inference_mode():
        for start in range(0, len(result), batch_size):
            part = slice(start, start + batch_size)
            chosen = {name: field[part] for name, field in values.items()}
            inputs = normalised_inputs(normalisation, chosen, channels)
            inputs = inputs.to(network.device).contiguous(memory_format=network.memory_format)
            output = network(inputs).double()
            for place, name in enumerate(channels.outputs):
                result[part, place] = normalisation.physical(name, output[:, place])
