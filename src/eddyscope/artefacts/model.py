"""Models on the disk: `*.safetensors`, weights and what they mean. No pickle is ever read.

Metadata (all JSON texts but the first two and the digests):
    format            eddyscope-model-1
    sign_convention   of psi and pi, as in datasets
    name              "base", "l02", "gain", …
    architecture      depth, width, kernel_size, padding
    channels          {"inputs": ["psi", "omega"], "outputs": ["pi"]}
    normalisation     kind ("own"), system, means and standard deviations
    grid              {"n": points a side, "filter_width": Δ} of the training samples
    retrained         names of the layers whose weights differ from the parent's ([] for none)
    parent            SHA-256 of the parent's file; "" for none
    history           {"train": [loss an epoch], "validation": [loss an epoch or nothing]}
    metrics           numbers known when it was saved: losses, samples, parameters, seconds
    provenance        resolved case, versions, seeds
    weights_digest    SHA-256 of the weights, so that damage is seen
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from eddyscope.artefacts.dataset.schema import SIGN_CONVENTION
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.networks.closure_network import INPUTS, OUTPUTS, ClosureNetwork
from eddyscope.networks.cnn import Cnn
from eddyscope.storage.atomic import write_atomically

__all__ = ["FORMAT", "Model", "load_model", "read_tensors", "save_model", "tensors_digest"]

FORMAT = "eddyscope-model-1"

ARCHITECTURE = ("depth", "width", "kernel_size", "padding")
"""The settings that two models must share to be compared layer by layer."""


@dataclass(frozen=True)
class Model:
    """A network, the normalisation it was trained with, and the rest of the artefact."""

    network: ClosureNetwork
    normalisation: Normalisation
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    """grid, retrained, parent, history, metrics, provenance (see the module)."""


def save_model(path: Path, model: Model) -> None:
    """Write `model` atomically. Not collective: call it on one rank."""
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in model.network.state_dict().items()
    }
    texts = {
        "architecture": _architecture(model.network.settings),
        "channels": {"inputs": INPUTS, "outputs": OUTPUTS},
        "normalisation": model.normalisation.as_dict(),
        "retrained": [],
        "parent": "",
        **model.metadata,
    }
    metadata = {
        "format": FORMAT,
        "sign_convention": SIGN_CONVENTION,
        "name": model.name,
        "weights_digest": tensors_digest(tensors),
        **{key: value if key == "parent" else json.dumps(value) for key, value in texts.items()},
    }
    write_atomically(path, save(tensors, metadata))


def load_model(path: Path, expect: Cnn.Settings | None = None) -> Model:
    """Read and check a model; `expect` is the architecture that the case describes.

    Not collective. Raises CaseError for a file that is missing, damaged, not a model, of
    another sign convention, or of another architecture.
    """
    tensors, metadata = read_tensors(path, FORMAT, "model")
    if metadata.get("sign_convention") != SIGN_CONVENTION:
        raise CaseError(
            f"{path}: sign convention is {metadata.get('sign_convention')!r}, but this code uses "
            f"{SIGN_CONVENTION!r}; train the model again on a dataset of this convention"
        )
    try:
        texts = {
            key: json.loads(value)
            for key, value in metadata.items()
            if key not in ("format", "sign_convention", "name", "weights_digest", "parent")
        }
        settings = Cnn.Settings.model_validate(texts.pop("architecture"))
        normalisation = Normalisation(**texts.pop("normalisation"))
        texts.pop("channels")
        if expect is not None:
            _check_architecture(path, settings, expect)
        network = ClosureNetwork(settings)
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CaseError(
            f"{path}: not a usable model ({reason}); make it again with --fresh"
        ) from None
    return Model(network, normalisation, metadata["name"], {**texts, "parent": metadata["parent"]})


def read_tensors(path: Path, form: str, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file whose format is `form` and whose digest holds.

    Not collective. Raises CaseError.
    """
    if not path.exists():
        raise CaseError(f"{path}: no such {what}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CaseError(
            f"{path}: not a readable {what} ({error}); it may be cut short or damaged: make it "
            "again with --fresh"
        ) from None
    if metadata.get("format") != form:
        raise CaseError(
            f"{path}: not a {what} of this program (format {metadata.get('format')!r}, expected "
            f"{form!r}); give a file that `eddyscope` wrote"
        )
    if metadata.get("weights_digest") != tensors_digest(tensors):
        raise CaseError(
            f"{path}: its contents do not match their SHA-256, so the {what} is damaged: make it "
            "again with --fresh"
        )
    return tensors, metadata


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _architecture(settings: Cnn.Settings) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=set(ARCHITECTURE))


def _check_architecture(path: Path, found: Cnn.Settings, expect: Cnn.Settings) -> None:
    different = [key for key in ARCHITECTURE if getattr(found, key) != getattr(expect, key)]
    if different:
        theirs = ", ".join(f"{key} = {getattr(found, key)!r}" for key in different)
        ours = ", ".join(f"network.{key} = {getattr(expect, key)!r}" for key in different)
        raise CaseError(
            f"{path}: the model has {theirs}, but the case has {ours}; set the case's [network] to "
            "the model's, or train again with --out DIR"
        )
