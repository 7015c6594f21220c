"""Made-up errors of a study, whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eddyscope.artefacts.study import Error

ROLES = {"b": "base", "a": "ceiling", "s": "floor", "t": "floor", "g": "control"}


def errors(
    means: Mapping[str, float],
    seeds: int = 3,
    members: int = 5,
    samples: int = 16,
    noise: float = 0.003,
    case: str = "made_up",
    held_out: Mapping[str, float] | None = None,
    settings: Sequence[tuple[str, str]] = (),
) -> list[Error]:
    """model -> its true error; members and seeds differ by much, alike for all models, and by a
    little `noise` of each model alone."""
    generator = np.random.default_rng(len(case) + samples)
    easy = 1.0 + 0.2 * generator.standard_normal((seeds, 1)) / 2
    easy = easy + 0.2 * generator.standard_normal(members)
    found = []
    for model, mean in means.items():
        own = noise * generator.standard_normal((seeds, members))
        is_base = model.startswith("base")
        for (seed, member), factor in np.ndenumerate(easy):
            varied = (*settings, ("training.seed", str(seed)), ("transfer.samples", str(samples)))
            found.append(
                Error(
                    case=case,
                    cell=f"{case}{seed}{samples}",
                    settings=varied,
                    model="base" if is_base else model,
                    repeat="" if is_base else "0",
                    role="layers" if model.startswith("l0") else ROLES[model[0]],
                    words=model,
                    recipe="chosen",
                    normalisation=model.removeprefix("base ") if is_base else "dimensional",
                    training_seed=str(seed),
                    transfer_seed="" if is_base else "0",
                    member=str(member),
                    error=float(mean * factor + own[seed, member]),
                    held_out_error=(held_out or {}).get(model, float("nan")),
                    converged=None if is_base else int(seed != 1),
                )
            )
    return found
