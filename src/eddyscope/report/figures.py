"""All pictures of the report, in their order, and the drawing of them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from eddyscope.config.errors import CaseError
from eddyscope.report import (
    activation_figures,
    flow_figures,
    kernel_figures,
    learning_figures,
    les_figures,
    prediction_figures,
)
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import Picture, styled

__all__ = ["SECTIONS", "Drawn", "NotDrawn", "draw", "draw_all"]

Of = TypeVar("Of")
"""What a picture is drawn from."""

SECTIONS: dict[str, tuple[Callable[[Results], Picture], ...]] = {
    "The two flows": (flow_figures.fields, flow_figures.spectra, flow_figures.histories),
    "Learning and re-training": (
        learning_figures.ranking,
        learning_figures.training,
        prediction_figures.fields,
        prediction_figures.spectra,
    ),
    "What re-training changed": (
        kernel_figures.changes,
        kernel_figures.most_changed,
        kernel_figures.kinds,
    ),
    "What flows through the network": (
        activation_figures.spectra_before,
        activation_figures.spectra_after,
        activation_figures.drift,
    ),
    "Back in a simulation": (les_figures.statistics, les_figures.trajectories),
}
"""Section -> its pictures: functions of the results that raise Absent where they lack something."""


@dataclass(frozen=True)
class Drawn:
    """A picture, with its words."""

    name: str
    """File's stem."""
    title: str
    caption: str
    alt: str
    png: bytes

    @property
    def base64(self) -> str:
        """As pages hold it."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class NotDrawn:
    """A picture that could not be drawn, by its purpose, and why."""

    purpose: str
    reason: str


def draw_all(results: Results) -> dict[str, list[Drawn | NotDrawn]]:
    """Every picture, section by section. Not collective: call it on one rank."""
    return {
        section: [draw(function, results) for function in functions]
        for section, functions in SECTIONS.items()
    }


def draw(function: Callable[[Of], Picture], results: Of) -> Drawn | NotDrawn:
    """Draw one picture, or say why not."""
    purpose = (function.__doc__ or function.__name__).splitlines()[0].rstrip(".")
    try:
        with styled():
            picture = function(results)
            png = picture.png()
    except (Absent, CaseError) as gap:
        return NotDrawn(purpose, str(gap))
    return Drawn(picture.name, picture.title, picture.caption, picture.alt, png)
