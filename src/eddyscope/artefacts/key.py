"""A model's name: what was re-trained of the base model, and with what. Imports no torch.

    key = ModelKey("l02", samples=16, seed=1)
    str(key)                                  # "l02,samples=16,seed=1"
    ModelKey.parse("l02,samples=16,seed=1")   # the same key
    key.path(folder)                          # <folder>/transfer/l02,samples=16,seed=1.safetensors

An adaptation is written as its kind with its parameters, "lora(layers=l02,rank=4)", "gain";
that of plain layers as their names, "l02+l05"; the base model is "base". Fields that are not
written are as the case says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.networks.settings import LAYER

__all__ = ["BASE", "LAYERS", "ModelKey", "adaptation_text", "in_one_order", "layers_text"]

BASE = "base"
"""Adaptation of the base model: none."""

LAYERS = "layers"
"""Kind of the adaptation that is written as names of layers alone."""

MATCHED = "matched"
"""The one recipe that keys name."""

LONGEST = 200
"""Characters of a key: with its ending it must be a file's name, at most 255 bytes."""

WORD = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
"""A kind, or the name of a parameter."""
VALUE = re.compile(r"[\w.+-]+", re.ASCII)
"""A parameter's value."""
WHOLE = re.compile(r"(?P<adaptation>[^,()]*(\([^()]*\))?)(,(?P<fields>[^()]*))?")
"""A key: an adaptation, with parameters in brackets, and fields after commas."""


@dataclass(frozen=True)
class ModelKey:
    """Which model of a case: a value, written and parsed in one way."""

    adaptation: str = BASE
    samples: int | None = None
    """Target samples that it was re-trained on."""
    normalisation: str | None = None
    """Name of the normalisation it was trained with."""
    training_seed: int | None = None
    """Seed of the base model's training."""
    recipe: str | None = None
    """How it was re-trained, where a case compares several ways: "matched", see
    `transfer.recipes`; others are not written."""
    seed: int | None = None
    """Repeat of the re-training, counted from 0; the first is not written."""

    FIELDS: ClassVar[dict[str, type]] = {
        "samples": int,
        "normalisation": str,
        "training_seed": int,
        "recipe": str,
        "seed": int,
    }
    """Optional fields, in the order in which they are written."""

    def __post_init__(self) -> None:
        """Bring the key to its one form. Raises CaseError for what is no key."""
        kind, parameters = _taken_apart(self.adaptation)
        object.__setattr__(self, "adaptation", adaptation_text(kind, parameters))
        if self.seed == 0:
            object.__setattr__(self, "seed", None)
        if self.recipe not in (None, MATCHED):
            raise CaseError(
                f"model {str(self)!r}: recipe = {self.recipe!r}; give {MATCHED!r}, or leave it out"
            )
        if self.samples is not None and self.samples < 1:
            raise CaseError(f"model {str(self)!r}: samples = {self.samples}; give 1 or more")
        if len(str(self)) > LONGEST:
            raise CaseError(
                f"the name of model {str(self)[:40]}… has {len(str(self))} characters, but names "
                f"files, so at most {LONGEST} are allowed; name fewer layers"
            )

    @classmethod
    def parse(cls, text: str) -> ModelKey:
        """The key that `text` writes. Raises CaseError."""
        found = WHOLE.fullmatch(text)
        if found is None:
            raise CaseError(
                f'{text!r} is no name of a model; give one such as "base", "l02", "l02+l05", '
                '"gain" or "l02,samples=16,seed=1"'
            )
        fields = _pairs(found["fields"], text) if found["fields"] is not None else {}
        values: dict[str, Any] = {name: _value(text, name, value) for name, value in fields.items()}
        return cls(found["adaptation"], **values)

    def __str__(self) -> str:
        written = [f"{name}={getattr(self, name)}" for name in self.FIELDS if self._has(name)]
        return ",".join([self.adaptation, *written])

    def path(self, models: Path) -> Path:
        """The artefact under a case's folder of models."""
        folder = models if self.is_base else models / "transfer"
        return folder / f"{self}.safetensors"

    @property
    def is_base(self) -> bool:
        """Whether nothing was re-trained."""
        return self.adaptation == BASE

    @property
    def kind(self) -> str:
        """Kind of the adaptation: "layers", "gain", "lora", …; "base" for none."""
        return _taken_apart(self.adaptation)[0]

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the adaptation but for its layers, as they are written."""
        return {k: v for k, v in _taken_apart(self.adaptation)[1].items() if k != "layers"}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the adaptation names; none where it names none."""
        named = _taken_apart(self.adaptation)[1].get("layers", "")
        return tuple(named.split("+")) if named else ()

    @property
    def is_single_layer(self) -> bool:
        """Whether one layer alone was re-trained, all of its weights."""
        return self.kind == LAYERS and len(self.layers) == 1 and not self.parameters

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None


def adaptation_text(kind: str, parameters: Mapping[str, object]) -> str:
    """An adaptation as keys write it; `layers` among its parameters is a text "l02+l05"."""
    if kind == LAYERS and list(parameters) == ["layers"]:
        return str(parameters["layers"])
    inside = ",".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    return f"{kind}({inside})" if inside else kind


def in_one_order(layers: Iterable[str]) -> list[str]:
    """Names of layers, each once and sorted: one list for one set."""
    return sorted(set(layers), key=lambda name: (len(name), name))


def layers_text(layers: Iterable[str]) -> str:
    """The names `in_one_order`, joined by +."""
    return "+".join(in_one_order(layers))


def _taken_apart(adaptation: str) -> tuple[str, dict[str, str]]:
    """Kind and parameters of an adaptation's text, layers in their one order."""
    kind, bracket, rest = adaptation.partition("(")
    names = kind.split("+")
    if not bracket and all(LAYER.fullmatch(name) for name in names):
        return LAYERS, {"layers": layers_text(names)}
    closed = not bracket or rest.endswith(")")
    if not closed or not WORD.fullmatch(kind):
        raise CaseError(
            f'{adaptation!r} is no adaptation; give layers, as in "l02" or "l02+l05", or a '
            'kind, as in "gain" or "lora(layers=l02,rank=4)"'
        )
    parameters = _pairs(rest[:-1], adaptation) if bracket else {}
    if "layers" in parameters:
        parameters["layers"] = layers_text(parameters["layers"].split("+"))
    return kind, parameters


def _pairs(text: str, whole: str) -> dict[str, str]:
    """ "a=1,b=2" as a dictionary. Raises CaseError that names the `whole` text."""
    pairs: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if not WORD.fullmatch(name) or not VALUE.fullmatch(value) or name in pairs:
            raise CaseError(
                f"{whole!r}: {part!r} is not of the form name=value, each name once, as in "
                '"l02,samples=16"'
            )
        pairs[name] = value
    return pairs


def _value(text: str, name: str, value: str) -> int | str:
    """A field's value from its text. Raises CaseError."""
    if name not in ModelKey.FIELDS:
        hint = did_you_mean(name, ModelKey.FIELDS)
        raise CaseError(
            f"{text!r}: a model's name has no {name!r}; "
            + (f"{hint} " if hint else "")
            + f"allowed: {', '.join(ModelKey.FIELDS)}"
        )
    if ModelKey.FIELDS[name] is str:
        return value
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise CaseError(f"{text!r}: {name} = {value!r} is no number; give one such as {name}=1")
    return int(value)
