"""Closures of large-eddy simulations beside the filtered direct simulation, as artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.dataset.split import Block
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.les import FILTERED_DNS, MemberStatistics, write_les
from eddyscope.closures.base import ClosureSettings, Sources
from eddyscope.closures.large_eddy import LargeEddySimulation, bin_edges, filtered_dns
from eddyscope.closures.registry import CLOSURES
from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import World

__all__ = ["Truth", "run_closures"]


@dataclass(frozen=True)
class Truth:
    """The filtered DNS that simulations start from and are compared with."""

    dataset: Source
    n: int
    """Its coarse grid."""
    blocks: Sequence[Block]
    """Its test members, or pieces of them."""
    duration: float


def run_closures(
    les: LargeEddySimulation,
    closures: Sequence[ClosureSettings],
    sources: Sources,
    truth: Truth,
    paths: Mapping[str, Path],
    world: World,
    attributes: Mapping[str, str | int],
) -> None:
    """Run closures on every member and write their statistics. Collective.

    paths: name of a closure -> its artefact; with `FILTERED_DNS`, that of the DNS is written
    too. Raises CannotWrite, and CaseError for files that cannot be used.
    """
    members = [block.member for block in truth.blocks]
    models = agree(world.comm, lambda: [CLOSURES.build(c, sources) for c in closures])
    of_dns = truth.dataset, truth.n, truth.blocks, truth.duration
    fields, times = agree(world.comm, lambda: filtered_dns(*of_dns))
    numbers = [block.number for block in truth.blocks]
    edges = bin_edges(field for fields_of in fields for field in fields_of)
    found = les.run_all(world, models, members, [samples[0] for samples in fields], edges)

    def write(
        name: str, key: ModelKey | None, way: str, statistics: list[MemberStatistics]
    ) -> None:
        run = {"closure": name, "model": str(key or ""), "normalisation": way}
        facts = {**attributes, **run, "dt": les.schedule.dt}
        write_les(paths[name], numbers, statistics, edges, facts)

    def write_all() -> None:
        if FILTERED_DNS in paths:
            each = zip(members, fields, times, strict=True)
            write(FILTERED_DNS, None, "", [les.of_dns(*of_member, edges) for of_member in each])
        for closure, model, statistics in zip(closures, models, found, strict=True):
            write(closure.text, model.key, model.way, statistics)

    world.on_root(write_all)
