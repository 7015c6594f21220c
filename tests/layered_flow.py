"""A flow of two layers that know nothing of each other: what one layer does, twice."""

from __future__ import annotations

from typing import Any

from eddyscope.flows.navier_stokes import NavierStokes
from eddyscope.parallel.world import World
from eddyscope.spectral.transform import Transform
from small_flows import make_transform_on

LAYERS = 2


class Uncoupled(NavierStokes):
    """Two layers of two-dimensional flow, one above the other."""

    layers = LAYERS


def make_pair(
    world: World, settings: dict[str, Any], n: int, members: int = 1, **layout: Any
) -> tuple[NavierStokes, Uncoupled]:
    """The same equation in one layer and in two, on the same ranks. Collective."""
    tree = NavierStokes.Settings.model_validate({"reynolds": 100.0, **settings})

    def transform(layers: int) -> Transform:
        return make_transform_on(world, n, members, layers=layers, **layout)

    return NavierStokes(tree, transform(1), seed=7), Uncoupled(tree, transform(LAYERS), seed=7)
