"""The advice: which layer to re-train, by scores, before any has been.

Two files with one content, written together by `write_advice`; advice/NAME/ has the same two of
each score alone, which are put together by `join_advice`:

advice.json
    {"default_score": NAME, "ranking": ["l02", …],
     "scores": {NAME: {"ranking": […], "values": {"l02": x, …}, "ties": [[…], …], "seconds": s}},
     "ties": [["l03", "l04"], …], "samples": how many target samples the scores saw,
     "normalisation": how these were normalised (`artefacts/normalisation.py`),
     "reason": "…", "shift_error": of the base model, see networks/shift.py,
     "digest": SHA-256 of all the rest}
    The higher the value the better the layer; null where the score is not defined for it.
    `ranking` has the best layer first; the layers of each of `ties` are equal to the score, and
    their order means nothing. `ranking` and `ties` on their own are the default score's.
    seconds: of one rank, all layers together.
advice.h5
    values          (score, layer)  each score of each layer, NaN where it is not defined
    error_spectrum  (wavenumber)    power of the base model's error on the target samples by
                                    shell, mean over samples
    NAME/           curves that explain score NAME, each (layer, axis), in units of 1:
        linearised_gain/fitted, held_out (layer, iteration), removed (layer, wavenumber)
    score, layer, wavenumber, iteration  coordinates (names are texts)
    Root attributes: provenance, `format`, default_score, samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import model_validator

from eddyscope.artefacts.json_part import JsonPart, Number, fault, json_text, read_part
from eddyscope.config.arrays import FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.small import Attribute, read_tree, write_tree

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FORMAT",
    "Advice",
    "ScoredLayers",
    "curves_dataset",
    "join_advice",
    "read_advice",
    "read_advice_details",
    "write_advice",
]

FORMAT = "eddyscope-advice-2"

REDO = "make it again with `eddyscope advise --fresh`"


class ScoredLayers(JsonPart):
    """What one score says."""

    ranking: list[str]
    """Layers, the best first."""
    values: dict[str, Number]
    """Layer -> value, in the order of the network."""
    ties: list[list[str]] = []
    """Layers that the score does not tell apart, in groups of two or more."""
    seconds: float = 0.0

    @property
    def groups(self) -> list[list[str]]:
        """The ranking in groups that the score does not tell apart, the best first."""
        group_of = {name: group for group in self.ties for name in group}
        groups: list[list[str]] = []
        for name in self.ranking:
            if not groups or name not in groups[-1]:
                groups.append(list(group_of.get(name, [name])))
        return groups

    @model_validator(mode="after")
    def _ranks_what_it_values(self) -> ScoredLayers:
        if sorted(self.ranking) != sorted(self.values):
            raise ValueError("its ranking and its values are not of the same layers")
        if [name for group in self.groups for name in group] != self.ranking:
            raise ValueError("its ties are not next to each other in its ranking")
        return self


class Advice(JsonPart):
    """The content of advice.json."""

    default_score: str
    scores: dict[str, ScoredLayers]
    samples: int
    """Target samples that the scores saw."""
    normalisation: str
    """How they were normalised, see `artefacts/normalisation.py`."""
    reason: str
    ranking: list[str] = []
    """Of the default score."""
    ties: list[list[str]] = []
    """Of the default score."""
    shift_error: float | None = None
    """Of the base model on these samples, see `networks/shift.py`."""

    @model_validator(mode="after")
    def _is_complete(self) -> Advice:
        if self.default_score not in self.scores:
            raise ValueError(f"its default score {self.default_score!r} is not among its scores")
        return self

    @property
    def by_default(self) -> ScoredLayers:
        """What the default score says."""
        return self.scores[self.default_score]


def write_advice(
    folder: Path,
    advice: Advice,
    error_spectrum: FloatArray,
    curves: Mapping[str, xr.Dataset],
    attributes: Mapping[str, Attribute],
) -> None:
    """Write both files, advice.json last. Not collective. Raises CannotWrite.

    error_spectrum: (wavenumber), from k = 1. curves: score -> its curves (`curves_dataset`).
    """
    groups = {"": _overview(advice, error_spectrum), **curves}
    named: dict[str, Attribute] = {
        **attributes,
        "format": FORMAT,
        "default_score": advice.default_score,
        "samples": advice.samples,
    }
    write_tree(folder / "advice.h5", groups, named)
    write_atomically(folder / "advice.json", as_json(advice))


def join_advice(
    folder: Path,
    parts: Mapping[str, Path],
    default_score: str,
    attributes: Mapping[str, Attribute],
) -> Advice:
    """Write the advice of several scores from those of each alone. Not collective.

    parts: score -> folder of the advice by that score; default_score: among them, gives the
    reason. Raises CannotWrite, and CaseError for a part that is missing or damaged.
    """
    each = {name: read_advice(part / "advice.json") for name, part in parts.items()}
    trees = {name: read_advice_details(part / "advice.h5") for name, part in parts.items()}
    scores = {name: found.scores[name] for name, found in each.items()}
    advice = each[default_score].model_copy(update={"scores": scores})
    spectrum = trees[default_score].to_dataset()["error_spectrum"].to_numpy()
    curves = {
        name: tree.children[name].to_dataset(inherit=False)
        for name, tree in trees.items()
        if name in tree.children
    }
    write_advice(folder, advice, spectrum, curves, attributes)
    return advice


def as_json(advice: Advice) -> str:
    """The text of advice.json."""
    of_default = {"ranking": advice.by_default.ranking, "ties": advice.by_default.ties}
    return json_text(advice.model_copy(update=of_default))


def curves_dataset(
    layers: Sequence[str],
    curves: Mapping[str, tuple[str, FloatArray, FloatArray, str]],
) -> xr.Dataset:
    """The curves of one score: name -> (axis, positions on it, values (layer, axis), meaning)."""
    import xarray as xr

    variables = {
        name: (("layer", axis), values, {"long_name": meaning})
        for name, (axis, _, values, meaning) in curves.items()
    }
    axes = {axis: (axis, positions) for axis, positions, _, _ in curves.values()}
    return xr.Dataset(variables, {"layer": list(layers), **axes})


def _overview(advice: Advice, error_spectrum: FloatArray) -> xr.Dataset:
    import xarray as xr

    layers = list(advice.by_default.values)
    values = [[score.values[layer] for layer in layers] for score in advice.scores.values()]
    text = "power of the base model's error by shell"
    return xr.Dataset(
        {
            "values": (("score", "layer"), np.array(values), {"long_name": "score of each layer"}),
            "error_spectrum": ("wavenumber", error_spectrum, {"long_name": text}),
        },
        {
            "score": list(advice.scores),
            "layer": layers,
            "wavenumber": ("wavenumber", np.arange(1.0, len(error_spectrum) + 1)),
        },
    )


def read_advice(path: Path, layers: Sequence[str] | None = None) -> Advice:
    """Read advice.json; `layers` are those that it must rank. Not collective.

    Raises CaseError if it is missing, not one of ours, or of other layers.
    """
    try:
        advice = read_part(Advice, path)
    except FileNotFoundError:
        raise CaseError(f"{path}: missing; run `eddyscope advise` first") from None
    except (OSError, ValueError) as error:
        raise CaseError(f"{path}: not usable as advice ({fault(error)}); {REDO}") from None
    for name, score in advice.scores.items():
        if layers is not None and set(score.ranking) != set(layers):
            raise CaseError(
                f"{path}: not usable as advice ({name} does not rank the layers {layers[0]} … "
                f"{layers[-1]}); {REDO}"
            )
    return advice


def read_advice_details(path: Path) -> xr.DataTree:
    """Read advice.h5. Not collective. Raises CaseError if missing, damaged or of another kind."""
    return read_tree(path, "advice", FORMAT)
