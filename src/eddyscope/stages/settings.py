"""`eddyscope settings [SECTION]`: every setting with its default, unit and meaning."""

from __future__ import annotations

from eddyscope.config.reference import as_markdown, as_text, chosen, reference
from eddyscope.parallel.world import World
from eddyscope.stages.case import Case

__all__ = ["page", "run"]

PREFACE = """\
# Settings

Every setting that a case file may have. This page is written by
`eddyscope settings --markdown > configs/README.md`; `eddyscope settings SECTION` prints a part of
it. A setting can be given on the command line too: `eddyscope run case.toml grid.n=256`.

A choice, of which `kind` names one, is written as a table, `forcing = {kind = "ring", wavenumber =
8, energy_input = 0.1}`, or as the plain name where nothing else needs to be said. Names of files
are relative to the case file. `extends = "other.toml"` lays a case file over another one.

Flows have units of their own, in which the equation of `src/eddyscope/flows/base.py` holds: the
box is 2π L × 2π L, and T is the unit of time. Seconds (s) are those of the clock on the wall. A
setting without a unit is a count, a ratio or a name.
"""


def run(section: str | None, markdown: bool, world: World) -> None:
    """Print the settings of a section, or all. Collective; CaseError if there is none such."""
    world.say(world.on_root(lambda: page(section, markdown)).rstrip())


def page(section: str | None = None, markdown: bool = False) -> str:
    """The settings of a section, or all, for a terminal or as Markdown. CaseError if there is
    none such."""
    sections = reference(Case)
    found = sections if section is None else chosen(sections, section.strip("[] "))
    if markdown:
        return (PREFACE + "\n" if section is None else "") + as_markdown(found) + "\n"
    return as_text(found) + "\n"
