"""The subgrid term that a model predicts, in physical units, on this rank alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.networks.closure_network import ClosureNetwork

__all__ = ["normalisations", "predict"]


def predict(
    network: ClosureNetwork,
    normalisation: Normalisation,
    psi: NDArray[Any],
    omega: NDArray[Any],
    batch_size: int = 16,
) -> NDArray[np.float64]:
    """Π of psi and omega, all (sample, y, x). The network must be on the CPU."""
    result = np.empty(psi.shape, np.float64)
    with torch.inference_mode():
        for start in range(0, len(psi), batch_size):
            part = slice(start, start + batch_size)
            inputs = normalisation.inputs(psi[part], omega[part])
            output = network(inputs.contiguous(memory_format=torch.channels_last))
            result[part] = output[:, 0].double().numpy() * normalisation.pi_std
    return result


def normalisations(base: Normalisation, target: Normalisation) -> dict[str, Normalisation]:
    """Ways to normalise the target's fields for the base model, by name.

    own: the target's statistics; base: the base system's; per_snapshot: psi and omega by
    each snapshot's own standard deviations, Π by the target's. Raises CaseError if mixed up.
    """
    if (base.system, target.system) != ("base", "target"):
        raise CaseError(
            f"models carry the normalisations of {base.system!r} and {target.system!r}, expected "
            "'base' and 'target'; train and transfer again with --fresh"
        )
    return {
        "own": target,
        "base": base,
        "per_snapshot": replace(target, kind="per_snapshot"),
    }
