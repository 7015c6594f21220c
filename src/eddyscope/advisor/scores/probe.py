"""How much a few steps of re-training a layer remove, beyond what three scales do.

From where the three scales leave the base network, one layer alone takes a few steps of Adam, rate
η / √fan_in, on batches that are the same for all layers:

    score = 1 − Σ_s E_s(θ) / Σ_s E_s(θ_0),   E_s the error of target sample s

The rate is halved where the first step does not lower the error of its batch. Each sample's share
of the sum says how sure the order of two layers is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from eddyscope.advisor.scores.base import Curve, Evidence, LayerScore
from eddyscope.config.arrays import FloatArray
from eddyscope.config.case import Section
from eddyscope.config.streams import stream

if TYPE_CHECKING:
    from torch import Tensor

    from eddyscope.advisor.start import Start
    from eddyscope.networks.base import LayeredModel
    from eddyscope.networks.replay import Replay

__all__ = ["Probe"]

HALVINGS = 16
"""Of the rate at most, where the first step raises the error."""


class Probe:
    """A short re-training from the scaled start. Curves: `descent`, error by step."""

    class Settings(Section):
        """A score of kind "probe": what a few steps of re-training a layer remove of the error that
        three scales leave."""

        kind: Literal["probe"] = "probe"
        steps: int = Field(default=32, ge=4)
        """Of Adam."""
        batch_size: int = Field(default=4, ge=1)
        """Samples a step."""
        rate: float = Field(default=0.03, gt=0.0)
        """η of Adam: a weight's rate is η / √fan_in."""

    reads_base: ClassVar[bool] = False
    scales_first: ClassVar[bool] = True
    measures: ClassVar[str] = (
        "the share that a few steps of re-training a layer remove of the error that three scales "
        "leave"
    )
    number_format: ClassVar[str] = ".1%"
    least: ClassVar[float] = 0.0

    def __init__(self, settings: Settings):
        self.settings = settings

    def of_layer(self, model: LayeredModel, evidence: Evidence, layer: str) -> LayerScore:
        from eddyscope.networks.replay import Replay

        start = evidence.start
        assert start is not None
        replay = Replay(model, layer, start.samples.inputs)
        descent, errors = self._descent(replay, start)
        steps = np.arange(float(self.settings.steps))
        words = "error of a batch before the step that sees it, over its error before the first"
        curve = Curve(descent, "step", steps, words)
        before = start.errors.double().cpu().numpy()
        removed = (before - errors) / before.mean() if before.any() else np.zeros(len(before))
        return LayerScore(float(removed.mean()), {"descent": curve}, removed)

    def _descent(self, replay: Replay, start: Start) -> tuple[FloatArray, FloatArray]:
        """Error of each step's batch over that before the first step, (step,); and of each sample
        after the last, (sample,). As before the first where no rate lowers it."""
        import torch

        asked, count = self.settings, len(start.samples)
        size = min(asked.batch_size, count)
        order = _order(count, asked.steps * size).reshape(asked.steps, size)
        batches = list(torch.from_numpy(order).to(start.errors.device))
        for halvings in range(HALVINGS + 1):
            ratios = self._steps(replay, start, batches, asked.rate / 2.0**halvings)
            if ratios is None:
                continue
            errors = start.errors_of(replay).double().cpu().numpy()
            if np.isfinite(errors).all():
                return ratios, errors
        return np.ones(asked.steps), start.errors.double().cpu().numpy()

    def _steps(
        self, replay: Replay, start: Start, batches: Sequence[Tensor], rate: float
    ) -> FloatArray | None:
        """None where the first step does not lower its batch's error, or one is not finite."""
        import torch

        from eddyscope.learning.descent import Descent
        from eddyscope.learning.recipe import Recipe

        replay.restart()
        steps, size = len(batches), len(batches[0])
        recipe = Recipe(steps, size, rate, (), scaled_by_fan_in=True, schedule="cosine")
        descent = Descent(replay.module, replay.trained, recipe)
        ratios = np.ones(steps)
        for step, places in enumerate(batches):
            before = start.errors[places].mean()
            error = start.error(replay(places), places).mean()
            if before > 0.0:
                ratios[step] = float(error.detach() / before)
            descent.optimiser.zero_grad()
            error.backward()
            descent.take(step)
            if step == 0:
                with torch.no_grad():
                    after = start.error(replay(places), places).mean()
                if not after < error.detach():
                    return None
        return ratios if np.isfinite(ratios).all() else None


def _order(count: int, needed: int) -> npt.NDArray[np.int64]:
    """Places of so many samples in random order, pass after pass."""
    generator = stream("probe")
    passes = [generator.permutation(count) for _ in range(-(-needed // count))]
    return np.concatenate(passes)[:needed]
