"""What a study found, arranged for pictures: errors on the target by case, samples and model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.study import Mean

__all__ = ["SAMPLES", "SEEDS", "Comparison", "comparisons", "spread"]

SAMPLES = "transfer.samples"

SEEDS = ("seed", "training.seed", "transfer.seed")
"""Settings whose values are repeats of one and the same question."""

Seeds = tuple[str, ...]
"""Values of the seeds: one training."""

Errors = Mapping[str, Mapping[Seeds, float]]
"""Model -> its error in each training; the mean over repeats of the re-training."""


@dataclass(frozen=True)
class Comparison:
    """One case, and one value of all that is varied but seeds and samples."""

    case: str
    settings: tuple[tuple[str, str], ...]
    """What else is varied, and its value here."""
    errors: Mapping[int, Errors]
    """Target samples -> model -> errors; the samples ascending."""
    roles: Mapping[str, str]
    """Model -> its role; models in their order."""
    words: Mapping[str, str]
    """Model -> what was re-trained, in few words."""

    @property
    def title(self) -> str:
        return ", ".join([self.case, *(f"{name} = {value}" for name, value in self.settings)])

    @property
    def layers(self) -> list[str]:
        """Models of a single layer, first to last."""
        return sorted(
            (name for name in self.roles if self._is_layer(name)),
            key=lambda name: (len(name), name),
        )

    def others(self, *roles: str) -> list[str]:
        """Models of these roles."""
        return [name for name, role in self.roles.items() if role in roles]

    @property
    def most_repeated(self) -> int:
        """The number of samples of which there are most trainings; of equals, the largest."""
        return max(self.errors, key=lambda n: (len(self._trainings(n)), n))

    @property
    def in_common(self) -> list[Seeds]:
        """The trainings that there are at every number of samples."""
        first, *others = (self._trainings(n) for n in self.errors)
        return [seeds for seeds in first if all(seeds in other for other in others)]

    def best(self, samples: int) -> str | None:
        """The layer of the least median error; None where there is none."""
        found = {n: spread(self.errors[samples][n])[0] for n in self._there(samples)}
        return min(found, key=lambda name: found[name], default=None)

    def wins(self, samples: int) -> tuple[int, int]:
        """In how many trainings the best layer has the least error of all, and of how many."""
        best, errors = self.best(samples), self.errors[samples]
        if best is None:
            return 0, 0
        rivals = [errors[name] for name in self._there(samples)]
        won = [
            all(error <= rival.get(seeds, error) for rival in rivals)
            for seeds, error in errors[best].items()
        ]
        return sum(won), len(won)

    def _there(self, samples: int) -> list[str]:
        return [name for name in self.layers if name in self.errors[samples]]

    def _trainings(self, samples: int) -> list[Seeds]:
        return list(dict.fromkeys(s for each in self.errors[samples].values() for s in each))

    def _is_layer(self, name: str) -> bool:
        return self.roles[name] == "layers" and ModelKey.parse(name.split(" ")[0]).is_single_layer


def comparisons(means: Iterable[Mean]) -> list[Comparison]:
    """All comparisons of a study, in the order of its table."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[Mean]] = {}
    for mean in means:
        if (mean.system, mean.metric) == ("target", "error"):
            others = tuple(pair for pair in mean.settings if pair[0] not in (SAMPLES, *SEEDS))
            found.setdefault((mean.case, others), []).append(mean)
    return [_comparison(case, others, rows) for (case, others), rows in found.items()]


def spread(errors: Mapping[Seeds, float], of: Sequence[Seeds] = ()) -> tuple[float, float, float]:
    """Median, least and largest; of: the trainings that count, all where there are none of them."""
    values = [error for seeds, error in errors.items() if seeds in of] or list(errors.values())
    return float(np.median(values)), min(values), max(values)


def _comparison(case: str, others: tuple[tuple[str, str], ...], rows: Sequence[Mean]) -> Comparison:
    ways: dict[str, set[str]] = {}
    for row in rows:
        ways.setdefault(row.model, set()).add(row.normalisation)
    names = {
        (row.model, row.normalisation): (
            row.model if len(ways[row.model]) == 1 else f"{row.model} ({row.normalisation})"
        )
        for row in rows
    }
    values: dict[int, dict[str, dict[Seeds, list[float]]]] = {}
    for row in rows:
        settings = dict(row.settings)
        seeds = tuple(settings[name] for name in SEEDS if name in settings)
        models = values.setdefault(int(settings.get(SAMPLES) or 0), {})
        each = models.setdefault(names[row.model, row.normalisation], {})
        each.setdefault(seeds, []).append(row.value)
    return Comparison(
        case=case,
        settings=others,
        errors={
            samples: {
                name: {seeds: float(np.mean(errors)) for seeds, errors in each.items()}
                for name, each in values[samples].items()
            }
            for samples in sorted(values)
        },
        roles={names[row.model, row.normalisation]: row.role for row in rows},
        words={names[row.model, row.normalisation]: row.words for row in rows},
    )
