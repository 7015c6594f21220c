"""The trainings behind a choice of rate and steps: every fold at every rate. Uses torch.

Each of them is short and made whole; its curve is kept beside the model as soon as it is there,
so that a stage that is killed goes on with the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eddyscope.artefacts.json_part import JsonPart, Number, json_text, read_part
from eddyscope.artefacts.model import Chosen
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.learning.adapting import Adapting, Report
from eddyscope.learning.batches import Samples
from eddyscope.learning.choice import POINTS, Choosing, Fold, chosen
from eddyscope.learning.recipe import Recipe
from eddyscope.networks.base import device_of
from eddyscope.networks.layers import evaluating
from eddyscope.parallel.failure import BlewUp
from eddyscope.parallel.world import World, block
from eddyscope.storage.atomic import write_atomically

__all__ = ["Search", "Yardstick"]

Errors = dict[str, list[Number] | None]
"""Name of a training -> its held-out errors; None where it was no longer finite."""


class Curves(JsonPart):
    """What is known of the trainings of a choice: <key>.choice.json beside the model."""

    identity: str
    """Of all that decides them."""
    errors: Errors


@dataclass(frozen=True)
class Yardstick:
    """Measures how far a module is from samples: ⟨(p − Π)²⟩ / ⟨Π²⟩ in physical units, sums over
    samples, channels and points."""

    normalisation: Normalisation
    outputs: Sequence[str]
    """Channels that the module gives, in their order."""
    batch_size: int

    def error(self, module: nn.Module, samples: Samples, world: World) -> float:
        """NaN for targets that are 0. Collective."""
        mine = block(len(samples), world.size, world.rank)
        device = device_of(module)
        std, mean = (
            torch.tensor([values[name] for name in self.outputs], dtype=torch.float64)
            .reshape(-1, 1, 1)
            .to(device)
            for values in (self.normalisation.std, self.normalisation.mean)
        )
        sums = np.zeros(2)
        with torch.inference_mode(), evaluating(module):
            for start in range(mine.start, mine.stop, self.batch_size):
                part = slice(start, min(start + self.batch_size, mine.stop))
                targets = samples.targets[part].to(device).double()
                wrong = std * (module(samples.inputs[part].to(device)).double() - targets)
                for place, field in enumerate((wrong, std * targets + mean)):
                    sums[place] += float(field.square().sum())
        squares, whole = world.comm.allreduce(sums)
        return float(squares / whole) if whole > 0.0 else float("nan")


@dataclass(frozen=True)
class Search:
    """Trials of every rate on every fold, for one model."""

    samples: Samples
    choosing: Choosing
    yardstick: Yardstick
    path: Path
    """Of what is kept of them."""
    identity: str
    """Of all that decides them; what was kept of another identity is not used."""

    def held_out(self, adapting: Adapting, recipe: Recipe) -> float:
        """Error of what takes no steps: mean over the folds. Collective."""
        errors = []
        for fold in self.choosing.folds:
            module, _ = adapting.to(_part(self.samples, fold.trained), recipe)
            held_out = _part(self.samples, fold.held_out)
            errors.append(self.yardstick.error(module, held_out, adapting.world))
        return float(np.mean(errors))

    def choose(
        self,
        adapting: Adapting,
        recipe: Recipe,
        report: Report,
        astray: Mapping[float, float] | None = None,
    ) -> Chosen:
        """Train on every fold at every rate, but for what is known already, and choose. Collective.

        report: called with the steps done in all trainings together; astray: rates that are not to
        be taken, see `chosen`. Raises BlewUp if none of them stays finite.
        """
        world, rates, folds = adapting.world, self.choosing.rates, self.choosing.folds
        known = world.on_root(self._kept)
        every = -(-recipe.steps // POINTS)
        points = [*range(0, recipe.steps, every), recipe.steps]
        trials = [(rate, number) for rate in rates for number in range(len(folds))]
        for place, (rate, number) in enumerate(trials):
            if _name(rate, number) in known:
                continue

            def say(step: int, note: str, place: int = place) -> None:
                report(place * recipe.steps + step, f"choice {1 + place}/{len(trials)}, {note}")

            trial = replace(recipe, rate=rate, evaluate_every=every)
            known[_name(rate, number)] = self._tried(adapting, trial, folds[number], say)
            kept = Curves(identity=self.identity, errors=known)
            world.on_root(partial(write_atomically, self.path, json_text(kept)))
        curves = {rate: self._mean(known, rate) for rate in rates}
        choice = chosen(curves, points, sum(len(fold.held_out) for fold in folds), astray)
        if choice is None:
            listed = ", ".join(f"{rate:g}" for rate in rates)
            raise BlewUp(
                f"training is no longer finite at any of the rates {listed}; lower "
                f"{recipe.rate_from}"
            )
        return choice

    def _mean(self, known: Errors, rate: float) -> list[float] | None:
        """Mean curve of a rate over the folds."""
        of_folds = [known[_name(rate, number)] for number in range(len(self.choosing.folds))]
        if any(curve is None for curve in of_folds):
            return None
        return [float(value) for value in np.mean(np.array(of_folds), axis=0)]

    def _tried(
        self, adapting: Adapting, recipe: Recipe, fold: Fold, report: Report
    ) -> list[float] | None:
        """Held-out errors before the first step and at every point of one training; None if it is
        no longer finite. Collective."""
        held_out, errors = _part(self.samples, fold.held_out), []

        def measured(module: nn.Module) -> Report:
            def point(step: int, note: str) -> None:
                errors.append(self.yardstick.error(module, held_out, adapting.world))
                report(step, note)

            errors.append(self.yardstick.error(module, held_out, adapting.world))
            return point

        try:
            adapting.to(_part(self.samples, fold.trained), recipe, begins=measured)
        except BlewUp:
            return None
        return errors

    def _kept(self) -> Errors:
        """What is known of an earlier run. Not collective."""
        try:
            kept = read_part(Curves, self.path)
        except (OSError, ValueError):
            return {}
        return kept.errors if kept.identity == self.identity else {}


def _name(rate: float, fold: int) -> str:
    """Of a training."""
    return f"{rate!r}/{fold}"


def _part(samples: Samples, chosen: Sequence[int]) -> Samples:
    places = list(chosen)
    return Samples(samples.inputs[places], samples.targets[places])
