"""`eddyscope import OUT.h5 …`: a dataset of a user's own arrays."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from eddyscope.artefacts.dataset.importer import full
from eddyscope.artefacts.dataset.importer.coarse import CoarseFields, coarse_layout
from eddyscope.artefacts.dataset.importer.fill import Make, fill, require_new
from eddyscope.artefacts.dataset.importer.origin import attributes_of, description, digests
from eddyscope.artefacts.dataset.importer.request import EXAMPLES, Request, add_arguments
from eddyscope.artefacts.dataset.importer.sources import Blocks, Stack, find, sample_times
from eddyscope.artefacts.dataset.layout import Layout
from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.writer import size
from eddyscope.config.errors import CaseError, one_line
from eddyscope.config.explain import explain
from eddyscope.filtering.fields import GivenFields
from eddyscope.filtering.kernels import FILTERS, FilterSettings
from eddyscope.parallel.failure import agree
from eddyscope.parallel.memory import require_memory, resident
from eddyscope.parallel.world import World
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.sizes import LOADED
from eddyscope.storage.disk import require_space

__all__ = ["EXAMPLES", "add_arguments", "run"]


def run(arguments: argparse.Namespace, argv: Sequence[str], world: World) -> None:
    """Make the dataset. Collective; CaseError, and nothing written, where it cannot be."""
    request = agree(world.comm, lambda: Request.of(arguments))
    stacks, layout = world.on_root(lambda: understood(request))
    if request.full:
        fields = full.memory(stacks["omega"].shape[-1])
        require_memory(world.comm, "import", resident() + LOADED + fields)
    say(world, description(request, stacks, layout))
    needed = size(layout, {})
    world.on_root(lambda: require_free(request.out, needed))
    with Blocks() as blocks:
        make, findings = maker(request, stacks, layout, blocks)
        if arguments.dry_run:
            world.on_root(lambda: _try(make))
            would = f"{request.out} would take {needed / 2**20:.1f} MiB; nothing is written"
            say(world, ["the first sample was read", *findings(world), would])
            return
        command = shlex.join(["eddyscope", *argv])
        attributes = attributes_of(request, stacks, layout, digests(stacks, world), command)
        fill(request.out, world, layout, attributes, make)
        say(world, findings(world))
    found = world.on_root(lambda: quality(Dataset(request.out)))
    say(world, [found.summary, *(f"warning: {warning}" for warning in found.warnings)])
    out = request.out
    told = f"`eddyscope info {out}` says what is in it"
    say(world, [f'{out} is written; a case names it as [base] or [target] dataset = "…"; {told}'])


def _try(make: Make) -> None:
    make(0, 0)


def say(world: World, lines: Sequence[str]) -> None:
    for line in lines:
        world.say(f"import: {one_line(line)}")


def understood(request: Request) -> tuple[dict[str, Stack], Layout]:
    """Where the fields stand, and the dataset that they make. Reads headers alone. Not collective.
    Raises CaseError."""
    require_new(request.out)
    stacks = find(request)
    if not request.full:
        return stacks, coarse_layout(request, stacks, sample_times(request, stacks))
    stack = stacks["omega"]
    settings = filter_settings(request)
    full.require_full(request, stack)
    widths = {n: settings.delta(n) for n in settings.n}
    return stacks, full.full_layout(request, stack, sample_times(request, stacks), widths)


def filter_settings(request: Request) -> FilterSettings:
    """Those that the command line gives. Raises CaseError."""
    tree: dict[str, object] = {"n": list(request.n), "precision": request.precision}
    if request.width is not None:
        tree["width"] = request.width
    schema = FILTERS[request.filter].Settings
    try:
        settings: FilterSettings = FILTERS.settings(request.filter, **tree)
    except ValidationError as error:
        first, *more = (f"--{fault.words}" for fault in explain(error, schema, tree))
        raise CaseError(first, more) from None
    return settings


def require_free(out: Path, bytes_needed: int) -> None:
    """CaseError where the folder cannot be written, or is too full. Not collective."""
    folder = out.absolute().parent
    if not folder.is_dir():
        raise CaseError(f"{out}: {folder} is no folder; make it, or name a file in another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CaseError(f"{out}: {folder} cannot be written to; name a file in another folder")
    elsewhere = "name a file on another disk"
    require_space("import", {out.absolute(): bytes_needed}, folder, elsewhere)


def maker(
    request: Request, stacks: Mapping[str, Stack], layout: Layout, blocks: Blocks
) -> tuple[Make, Callable[[World], list[str]]]:
    """What makes a sample of a member, and what it tells in the end. Not collective."""
    if not request.full:
        fields = CoarseFields(request, stacks, blocks, layout)
        return fields.make, fields.findings
    given = GivenFields(stacks["omega"].shape[-1], filter_settings(request))
    length, diagnostics = request.box.length[1], Diagnostics(given.flow)
    whole = full.FullFields(stacks["omega"], blocks, given, diagnostics, length)
    return whole.make, lambda world: []
