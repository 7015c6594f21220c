"""Dealing items of work to ranks and collecting their results in the items' order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import World

__all__ = ["deal", "map_in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def deal(items: Sequence[Item], parts: int, index: int) -> list[Item]:
    """Part `index` of `parts`: every `parts`-th item, so that like neighbours are spread out."""
    return list(items[index::parts])


def map_in_order(
    world: World, function: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result]:
    """`[function(item) for item in items]`, the items dealt to the ranks. Collective.

    `function` must not communicate. Every rank gets the whole list, or the CaseError that one met.
    """
    own = deal(items, world.size, world.rank)
    mine = agree(world.comm, lambda: [function(item) for item in own])
    everyone = world.comm.allgather(mine)
    return [everyone[i % world.size][i // world.size] for i in range(len(items))]
