"""The report as one HTML page that needs nothing else: `page.html` and `page.css`, filled in.

Images stand inside the page; there are no scripts and no fonts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from eddyscope.report import limits, outcome, setting
from eddyscope.report.comparison import compare
from eddyscope.report.figures import Drawn, NotDrawn
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import COLOURS
from eddyscope.report.tables import (
    Table,
    flow_table,
    layer_table,
    matched_table,
    metric_table,
    step_table,
    way_table,
)

__all__ = ["layers_of", "page", "template"]

KEY = {
    "base": COLOURS["base"],
    "target": COLOURS["target"],
    "layers re-trained": COLOURS["layers"],
    "truth": COLOURS["truth"],
}
"""What the colours mean, everywhere on the page."""


def page(
    results: Results,
    pictures: Mapping[str, Sequence[Drawn | NotDrawn]],
    provenance: Mapping[str, object],
) -> str:
    """The whole page.

    pictures: section -> its pictures; provenance: lines below the table of steps.
    """
    layers = layers_of(results)
    return template("page.html").render(
        name=results.case["name"],
        key=KEY,
        headlines=outcome.headlines(results),
        setting=setting.setting(results),
        outcome=outcome.outcome(results),
        limits=limits.limits(results),
        flows=flow_table(results),
        layers=layers if isinstance(layers, Table) else None,
        no_layers=layers,
        metrics=metric_table(compare(results)) if isinstance(layers, Table) else None,
        matched=matched_table(compare(results)) if isinstance(layers, Table) else None,
        ways=way_table(compare(results)) if isinstance(layers, Table) else None,
        pictures=pictures,
        gaps=[f"{gap}." for gap in results.gaps],
        steps=step_table(results),
        provenance=[f"{name}: {value}" for name, value in provenance.items()],
        case=json.dumps(setting.shown_case(results), indent=1, ensure_ascii=False),
    )


def layers_of(results: Results) -> Table | str:
    """The table of layers, or why there is none."""
    try:
        return layer_table(compare(results))
    except Absent as gap:
        return str(gap)


@cache
def template(name: str) -> Template:
    """A template of this folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    environment.filters["anchor"] = anchor
    return environment.get_template(name)


def prose(text: str) -> Markup:
    """A sentence: commands in backquotes set as code, numbers kept with their signs."""
    kept = str(escape(text.replace(" %", "\u00a0%")))
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", kept))


def anchor(title: str) -> str:
    """The name by which links find a section."""
    return title.lower().replace(" ", "-")
