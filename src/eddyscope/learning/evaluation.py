"""Offline evaluation of every model on both systems' test members, and its artefacts' layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.artefacts.model import Model
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.learning.batches import Fields
from eddyscope.learning.metrics import METRICS, shell_spectrum, snapshot_metrics, summary
from eddyscope.learning.prediction import predict
from eddyscope.storage.layout import Variable, attribute_texts

__all__ = ["Outcome", "evaluate", "history_variables", "mean_of_seeds", "system_variables"]

Summaries = dict[str, dict[str, float]]
"""Metric -> {"mean", "std", …}."""


@dataclass(frozen=True)
class Outcome:
    """One model on one system's test members."""

    metrics: dict[str, NDArray[np.float64]]
    """Metric -> values, (snapshot,), in the order of the fields."""
    spectrum: NDArray[np.float64]
    """Sum of |Π̂| by shell, mean over each member's snapshots: (member, wavenumber)."""

    def summaries(self, members: Sequence[int]) -> Summaries:
        return {name: summary(values, members) for name, values in self.metrics.items()}

    def gain_over(self, base: Outcome, members: Sequence[int]) -> dict[str, float]:
        """Share of the base model's error that is gone, member by member: mean and spread."""
        owner = np.asarray(members)
        before = base.metrics["error"]
        scale = np.array([before[owner == m].mean() for m in owner])
        return summary((before - self.metrics["error"]) / scale, members)


def evaluate(
    model: Model, normalisation: Normalisation, fields: Fields, batch_size: int
) -> Outcome:
    """Metrics of `model` on `fields`, normalised as told. Not collective."""
    predicted = predict(model.network, normalisation, fields.psi, fields.omega, batch_size)
    metrics = snapshot_metrics(predicted, fields.pi, fields.omega, normalisation.pi_std)
    return Outcome(metrics, spectra_of_members(predicted, [m for m, _ in fields.origin]))


def spectra_of_members(pi: NDArray[Any], members: Sequence[int]) -> NDArray[np.float64]:
    """Sum of |Π̂| by shell, mean over each member's snapshots: (member, wavenumber)."""
    spectra, owner = shell_spectrum(pi), np.asarray(members)
    return np.stack([spectra[owner == m].mean(axis=0) for m in sorted(set(members))])


def mean_of_seeds(repeats: Sequence[Summaries]) -> Summaries:
    """One entry for all repeats: `mean` and `std` (spread over members) averaged over them,
    and `std_seeds`, the sample standard deviation of the repeats' means."""
    return {
        name: {
            **{key: float(np.mean([r[name][key] for r in repeats])) for key in repeats[0][name]},
            "std_seeds": float(np.std([r[name]["mean"] for r in repeats], ddof=1)),
        }
        for name in repeats[0]
    }


def system_variables(outcomes: Mapping[str, Outcome], fields: Fields) -> dict[str, Variable]:
    """The group of one system in evaluation.h5 (see `stages/evaluate.py`)."""
    members = sorted({m for m, _ in fields.origin})
    samples = sorted({s for _, s in fields.origin})
    true = spectra_of_members(fields.pi, [m for m, _ in fields.origin])
    spectra = np.stack([outcome.spectrum for outcome in outcomes.values()])
    return {
        "model": Variable(("model",), attribute_texts(list(outcomes)), long_name="model"),
        "member": Variable(("member",), np.array(members), long_name="test member"),
        "sample": Variable(("sample",), np.array(samples), long_name="sample number"),
        "wavenumber": Variable(
            ("wavenumber",), np.arange(1.0, true.shape[1] + 1), long_name="wavenumber k"
        ),
        **{
            name: Variable(
                ("model", "member", "sample"),
                np.stack(
                    [
                        _as_table(o.metrics[name], fields, members, samples)
                        for o in outcomes.values()
                    ]
                ),
                long_name=text,
            )
            for name, text in METRICS.items()
        },
        "pi_spectrum": Variable(
            ("model", "member", "wavenumber"), spectra, long_name="sum of |Π̂| by shell, predicted"
        ),
        "pi_spectrum_true": Variable(
            ("member", "wavenumber"), true, long_name="sum of |Π̂| by shell, exact"
        ),
    }


def _as_table(
    values: NDArray[Any], fields: Fields, members: list[int], samples: list[int]
) -> NDArray[np.float64]:
    table = np.full((len(members), len(samples)), np.nan)
    for value, (member, sample) in zip(values, fields.origin, strict=True):
        table[members.index(member), samples.index(sample)] = value
    return table


def history_variables(models: Mapping[str, Model]) -> dict[str, Variable]:
    """The group `history` of evaluation.h5: curves padded with NaN to the longest."""
    curves = {name: model.metadata["history"] for name, model in models.items()}
    numbers = {name: model.metadata["metrics"] for name, model in models.items()}
    epochs = max(len(curve["train"]) for curve in curves.values())
    variables = {
        "model": Variable(("model",), attribute_texts(list(models)), long_name="model"),
        "epoch": Variable(("epoch",), np.arange(1, epochs + 1), long_name="epoch"),
    }
    for part in ("train", "validation"):
        padded = np.full((len(models), epochs), np.nan)
        for row, curve in zip(padded, curves.values(), strict=True):
            row[: len(curve[part])] = curve[part]
        text = f"mean squared error of the normalised subgrid term, {part} samples"
        variables[part] = Variable(("model", "epoch"), padded, long_name=text)
    for key, units in (("parameters", "1"), ("samples", "1"), ("seconds", "s")):
        values = np.array([numbers[name][key] for name in models], dtype=np.float64)
        variables[f"trained_{key}"] = Variable(("model",), values, units, f"{key} of the training")
    return variables
