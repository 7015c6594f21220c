"""Adapting a base model in one way, as often as asked, each time from its beginning. Uses torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from eddyscope.learning.adaptations.base import Adaptation, Task
from eddyscope.learning.batches import Samples
from eddyscope.learning.history import History
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.trainer import Requests, Saved, train
from eddyscope.networks.base import LayeredModel
from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import World

__all__ = ["Adapting", "Report"]

Report = Callable[[int, str], None]
"""Told the steps done, and words."""


def _silent(step: int, note: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Adapting:
    """A base model, how it is adapted, and the ranks that do so together."""

    base: LayeredModel
    adaptation: Adaptation
    base_samples: Callable[[int], Samples]
    """Loads so many training samples of the base. Not collective; raises CaseError."""
    world: World
    requests: Requests | None = None
    """To stop, see `train`."""

    def untouched(self, recipe: Recipe) -> nn.Module:
        """The module before it is adapted. Not collective."""
        return self.adaptation.module(self.base, recipe.key)

    def to(
        self,
        given: Samples,
        recipe: Recipe,
        report: Report = _silent,
        validation: Samples | None = None,
        saved: Saved | None = None,
        begins: Callable[[nn.Module], Report] | None = None,
    ) -> tuple[nn.Module, History]:
        """A module adapted to what is given, and its curves, none for what takes no steps.
        Collective.

        report: called at every point of the curves; begins: in place of it, called with the module
        just before its first step, gives what is called. Raises as `train` does.
        """
        history, world = History(), self.world

        def trained(
            module: nn.Module,
            *,
            samples: Samples | None = None,
            factors: Mapping[str, float] | None = None,
        ) -> None:
            nonlocal history
            told = begins(module) if begins else report
            mine = replace(recipe, factors=world.comm.bcast(factors or {}))  # one on all ranks
            data = samples or given, validation, mine, world, saved, told
            history = train(module, *data, self.base.channels_last, self.requests)

        def of_base(count: int) -> Samples:
            return agree(world.comm, lambda: self.base_samples(count))

        module = self.untouched(recipe)
        if recipe.last or not self.adaptation.is_trained:
            self.adaptation.fit(module, Task(given, recipe.batch_size, trained, of_base))
        return module, history
