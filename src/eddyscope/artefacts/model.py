"""Models on the disk: `*.safetensors`, weights and what they mean. No pickle, no torch.

Tensors: float32 (what is no weight may hold whole numbers), under their names in the network's
module, those that it has under several names once. Metadata: `format`,
`sign_convention` (of psi and pi, as in datasets), `digest` (SHA-256 of everything else,
weights and metadata), and the fields of `ModelRecord`, each as a JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from eddyscope.artefacts.dataset.schema import SIGN_CONVENTION
from eddyscope.artefacts.json_part import fault
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import Normalisation, Way
from eddyscope.artefacts.role import Adapted
from eddyscope.artefacts.tensor_file import read_tensors, write_tensors
from eddyscope.config.arrays import AnyArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.config.identity import deciding
from eddyscope.config.registry import Choice
from eddyscope.networks.registry import NETWORKS
from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = [
    "CONVERGED",
    "FORMAT",
    "Chosen",
    "Curves",
    "ModelGrid",
    "ModelRecord",
    "Resolved",
    "StoredModel",
    "Tried",
    "check_network",
    "read_model",
    "write_model",
]

FORMAT = "eddyscope-model-5"


CONVERGED: dict[float | None, str] = {1.0: "converged", 0.0: "not converged", None: "not known"}
"""Whether a re-training had converged -> what the words about it begin with."""


class _Part(BaseModel):
    """A part of the metadata: closed to unknown keys, strict about types."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class ModelGrid(_Part):
    """The coarse grid of the training samples."""

    n: int
    """Points a side."""
    filter_width: float
    """Δ, in the box's units."""


class Curves(_Part):
    """Mean squared error of the normalised Π, at points between steps, often after each epoch."""

    train: list[float] = []
    """Met on the way to the point, so before the last steps."""
    validation: list[float] = []
    """At the point, over validation samples; empty if there are none."""
    steps: list[int] = []
    """Done at each point."""


class Tried(_Part):
    """A rate of a choice, see `learning/choice.py`."""

    rate: float
    steps: int | None
    """Of its least held-out error; None where its training was no longer finite."""
    error: float | None
    astray: float | None = None
    """Error on its own samples of a training on all of them that went astray, see `Retraining`."""


class Chosen(_Part):
    """How rate and steps were chosen, see `learning/choice.py`."""

    rate: float
    steps: int
    """0 where no step lowers the held-out error."""
    error: float
    """Held out, at these."""
    held_out: int
    """Samples held out, of all folds together."""
    points: list[int]
    """Steps at which it was measured."""
    curve: list[float]
    """Held-out error at these, at the rate that was chosen; mean over folds."""
    tried: list[Tried]


class Resolved(_Part):
    """What a key leaves to the case, written out."""

    adaptation: str
    """Its kind; "base" for the base model."""
    layers: list[str] = []
    """Layers that the adaptation names."""
    parameters: dict[str, str] = {}
    """Its other parameters."""
    samples: int
    """It was trained on, of its system."""
    normalisation: Way
    """How its samples were normalised."""
    training_seed: int
    """Seed of the base model's training."""
    transfer_seed: int | None = None
    """Seed of the re-training; None for the base model."""
    repeat: int = 0
    """Of the re-training, counted from 0."""
    base: str = ""
    """Digest of the base model; empty for the base model itself."""
    recipe: str = ""
    """"chosen" or "matched", see `transfer.recipes`; empty for what takes no steps and for the base
    model."""

    @classmethod
    def of(cls, key: ModelKey, **values: Any) -> Resolved:
        """What `key` says, with the values that it leaves open."""
        return cls(
            adaptation=key.kind,
            layers=list(key.layers),
            parameters=key.parameters,
            repeat=key.seed or 0,
            **values,
        )


class ModelRecord(_Part):
    """Everything that a model's file says but its weights."""

    key: str
    """The model's name, see `artefacts/key.py`."""
    resolved: Resolved
    adapted: Adapted
    """How its adaptation speaks of itself."""
    network: Annotated[Any, Choice(NETWORKS)]
    channels: Channels
    """Names of what it takes and gives, in their order."""
    normalisation: Normalisation
    """That it was trained with, a way and its numbers."""
    scales: dict[str, float] = {}
    """Channel -> factor of what the network is given, or gives, in normalised units and under any
    normalisation; 1 where there is none."""
    grid: ModelGrid
    retrained: list[str]
    """Layers whose weights differ from the base model's; none in the base model itself."""
    history: Curves = Curves()
    metrics: dict[str, float | None] = {}
    """Numbers known when it was saved: losses, samples, parameters, ranks, threads, `shift_error`
    (see `networks/shift.py`), `steps`, `rate`, `travel` (of what all steps of the schedule allow,
    see `learning/history.py`), `validation_error` (held out, see `learning/choice.py`) and whether
    it `converged`, 1 or 0."""
    convergence: str = ""
    """That in words, which begin with one of `CONVERGED`; empty for the base model and for what
    takes no steps."""
    choice: Chosen | None = None
    """How rate and steps were chosen."""
    layers: dict[str, str] = {}
    """Layer -> full name of its submodule."""
    left_out: dict[str, str] = {}
    """Submodule that is no layer, though it looks like one -> why."""
    kept: list[str] = []
    """Tensors that are no weights, such as running statistics and scales."""
    provenance: dict[str, Any] = {}
    """Resolved case, versions, seeds, the dataset's digest, and on how many ranks and threads
    each stretch of epochs was trained."""

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        try:
            written = str(ModelKey.parse(text))
        except CaseError as error:
            raise ValueError(str(error)) from None
        if written != text:
            raise ValueError(f"{text!r} is written {written!r}")
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        inputs, outputs = self.channels.inputs, self.channels.outputs
        asked = self.network.inputs, self.network.outputs
        depths = range(1, len(self.channels.names) + 1)
        if not any(Channels.of_fields(*asked, layers) == self.channels for layers in depths):
            raise ValueError(
                f"channels {', '.join(inputs)} -> {', '.join(outputs)} of a network of "
                f"{', '.join(asked[0])} -> {', '.join(asked[1])}"
            )
        needed = {*inputs, *outputs}
        if self.normalisation.std.keys() != needed:
            raise ValueError(f"the normalisation is of {', '.join(self.normalisation.std)}")
        if not self.scales.keys() <= needed:
            raise ValueError(f"the scales are of {', '.join(self.scales)}")
        if not ModelKey.parse(self.key).is_base and not self.resolved.base:
            raise ValueError("the base model's digest is missing")
        return self

    @property
    def model_key(self) -> ModelKey:
        """Its name as a value."""
        return ModelKey.parse(self.key)

    def texts(self) -> dict[str, str]:
        """The metadata: a JSON text a field."""
        return {name: json.dumps(value) for name, value in self.model_dump(mode="json").items()}


@dataclass(frozen=True)
class StoredModel:
    """A model as its file holds it."""

    record: ModelRecord
    weights: Mapping[str, RealArray]
    """float32, by full name in the network's module."""
    digest: str
    """Of the whole."""


def write_model(path: Path, record: ModelRecord, weights: Mapping[str, RealArray]) -> str:
    """Write a model, whole or not at all; gives its digest. Not collective: on one rank.

    Raises CannotWrite, and CaseError for weights that are not finite.
    """
    _check_weights(path, weights, record.kept)
    texts = {"format": FORMAT, "sign_convention": SIGN_CONVENTION, **record.texts()}
    return write_tensors(path, weights, texts)


def read_model(path: Path, expect: NetworkSettings | None = None) -> StoredModel:
    """Read and check a model; `expect` is the network that the case describes. Not collective.

    Raises CaseError for a file that is missing, damaged, not a model, of another sign
    convention, of another network, or whose weights or numbers make no sense.
    """
    weights, texts = read_tensors(path, FORMAT, "model")
    convention = texts.get("sign_convention")
    if convention != SIGN_CONVENTION:
        raise CaseError(
            f"{path}: sign convention is {convention!r}, but this code uses "
            f"{SIGN_CONVENTION!r}; train the model again on a dataset of this convention"
        )
    record = _record(path, texts)
    _check_weights(path, weights, record.kept)
    if expect is not None:
        check_network(path, record.network, expect)
    return StoredModel(record, weights, texts["digest"])


def check_network(path: Path, found: NetworkSettings, expect: NetworkSettings) -> None:
    """Raise CaseError unless two networks can be compared layer by layer."""
    theirs, ours = (deciding(settings) for settings in (found, expect))
    del theirs["n"], ours["n"]
    if theirs["kind"] != ours["kind"]:
        theirs, ours = {"kind": theirs["kind"]}, {"kind": ours["kind"]}
    different = [name for name in theirs if theirs[name] != ours[name]]
    if different:
        have = ", ".join(f"{name} = {theirs[name]!r}" for name in different)
        want = ", ".join(f"network.{name} = {ours[name]!r}" for name in different)
        raise CaseError(
            f"{path}: the model has {have}, but the case has {want}; set the case's [network] to "
            "the model's, or train again with --out DIR"
        )


def _record(path: Path, texts: Mapping[str, str]) -> ModelRecord:
    """The metadata, validated. Raises CaseError."""
    try:
        fields = {
            n: t for n, t in texts.items() if n not in ("format", "sign_convention", "digest")
        }
        whole = "{" + ",".join(f"{json.dumps(n)}:{t}" for n, t in fields.items()) + "}"
        return ModelRecord.model_validate_json(whole)
    except ValidationError as error:
        raise CaseError(
            f"{path}: not a usable model ({fault(error)}); make it again with --fresh"
        ) from None


def _check_weights(path: Path, weights: Mapping[str, AnyArray], kept: Sequence[str]) -> None:
    """Raise CaseError unless all weights are finite and of single precision; what is `kept`
    beside them may be whole numbers."""
    for name, array in weights.items():
        if array.dtype != np.float32 and not (name in kept and array.dtype.kind in "iub"):
            raise CaseError(
                f"{path}: weights {name!r} are {array.dtype}, but models hold float32; make it "
                "again with --fresh"
            )
        if not np.isfinite(array).all():
            raise CaseError(f"{path}: weights {name!r} are not finite; make it again with --fresh")
