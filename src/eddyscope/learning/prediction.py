"""The subgrid term that a model predicts, in physical units, on this rank alone."""

from __future__ import annotations

import numpy as np
import torch

from eddyscope.artefacts.dataset.schema import SYSTEMS
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import FloatArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import normalised_inputs
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.settings import channel_names

__all__ = ["normalisations", "predict"]


def predict(
    network: LayeredModel,
    normalisation: Normalisation,
    psi: RealArray,
    omega: RealArray,
    batch_size: int = 16,
) -> FloatArray:
    """Π of psi and omega, all (sample, layer, y, x). The network must be on the CPU."""
    result = np.empty(psi.shape, np.float64)
    stds = [normalisation.std[name] for name in channel_names("pi", psi.shape[1])]
    with torch.inference_mode():
        for start in range(0, len(psi), batch_size):
            part = slice(start, start + batch_size)
            inputs = normalised_inputs(normalisation, psi[part], omega[part])
            laid_out = inputs.contiguous(memory_format=network.memory_format)
            output = network(laid_out).double().numpy()
            for layer, std in enumerate(stds):
                result[part, layer] = output[:, layer] * std
    return result


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
