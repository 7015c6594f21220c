"""The kernels of many models, layer by layer, dealt to the ranks; and those that changed most.

A re-trained model is surveyed only in the layers whose kernels differ from the base
model's; all others are the base's own. Maps of a 128 × 128 grid are large, so they are
made and measured one output channel at a time and only what is derived from them is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from eddyscope.analysis import kernel_spectra as ks
from eddyscope.artefacts.key import BASE
from eddyscope.config.arrays import RealArray
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World

__all__ = ["Kernels", "LayerSurvey", "Moved", "most_changed", "survey"]

Kernels = Mapping[str, RealArray]
"""Layer -> weights (out, in, row, column)."""


@dataclass(frozen=True)
class LayerSurvey:
    """One layer of one model; arrays have the axes (out, in)."""

    radial: RealArray
    """Root mean square of |T| over each shell, axes (out, in, wavenumber)."""
    shape: ks.Shape
    change: ks.Change | None
    """Against the base model; None for the base model itself."""


@dataclass(frozen=True)
class Moved:
    """A kernel that re-training changed, before and after."""

    layer: str
    output: int
    input: int
    change: float
    """Spectral change, in units of the null model's."""
    before: RealArray
    after: RealArray


def survey(
    world: World, models: Mapping[str, Kernels], grids: Mapping[str, int], seed: int
) -> dict[tuple[str, str], LayerSurvey]:
    """Every layer of the base model, and of the others those that differ. Collective.

    grids: layer -> points a side of what it is given. seed: of the null model's pairs.
    Gives (model, layer) -> survey on every rank, in the order of models and layers.
    """
    items = [
        (model, layer)
        for model, kernels in models.items()
        for layer in kernels
        if model == BASE or differs(models[BASE][layer], kernels[layer])
    ]

    def work(item: tuple[str, str]) -> LayerSurvey:
        model, layer = item
        before = models[BASE][layer]
        after = None if model == BASE else models[model][layer]
        return _survey_layer(before, after, grids[layer], seed)

    return dict(zip(items, map_in_order(world, work, items), strict=True))


def differs(before: RealArray, after: RealArray) -> bool:
    """Whether two layers' kernels differ; they must have the same shape."""
    assert before.shape == after.shape, f"kernels of shapes {before.shape} and {after.shape}"
    return not np.array_equal(before, after)


def _survey_layer(before: RealArray, after: RealArray | None, n: int, seed: int) -> LayerSurvey:
    weights = before if after is None else after
    maps = (ks.amplification(row[None], n) for row in weights)
    rows = [(ks.shell_amplification(m).astype(np.float32), ks.describe(m)) for m in maps]
    shapes = [shape for _, shape in rows]
    merged = {
        f.name: np.concatenate([getattr(s, f.name) for s in shapes]) for f in fields(ks.Shape)
    }
    change = None if after is None else ks.change(before, after, n, seed)
    return LayerSurvey(np.concatenate([radial for radial, _ in rows]), ks.Shape(**merged), change)


def most_changed(
    found: Mapping[tuple[str, str], LayerSurvey],
    models: Mapping[str, Kernels],
    model: str,
    count: int,
) -> Sequence[Moved]:
    """The `count` kernels of `model` whose spectra changed most, in units of each layer's null."""
    moved = []
    for layer in models[model]:
        entry = found.get((model, layer))
        if entry is None or entry.change is None:
            continue
        ratio = np.nan_to_num(entry.change.over_null, nan=0.0)
        largest = np.argsort(-ratio, axis=None, kind="stable")[:count]
        for place in largest:
            out, inp = (int(i) for i in np.unravel_index(place, ratio.shape))
            moved.append(_moved(models, model, layer, (out, inp), float(ratio[out, inp])))
    moved.sort(key=lambda m: -m.change)  # stable: equals stay in the order of layers
    return moved[:count]


def _moved(
    models: Mapping[str, Kernels], model: str, layer: str, at: tuple[int, int], ratio: float
) -> Moved:
    return Moved(layer, *at, ratio, models[BASE][layer][at], models[model][layer][at])
