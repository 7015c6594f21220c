"""`eddyscope info FILE`: what is in this artefact, in a few plain lines."""

from __future__ import annotations

from pathlib import Path

from eddyscope.artefacts.describe import describe
from eddyscope.parallel.world import World

__all__ = ["run"]


def run(path: Path, world: World) -> None:
    """Say what `path` holds. Collective; CaseError if it is missing, damaged or unknown."""
    lines = world.on_root(lambda: describe(path))
    world.say("\n".join(lines))
