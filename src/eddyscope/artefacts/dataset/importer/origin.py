"""What an imported dataset says of where it comes from, and of how it was understood."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.importer.request import Request
from eddyscope.artefacts.dataset.importer.sources import Stack
from eddyscope.artefacts.dataset.layout import Layout
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World
from eddyscope.storage.variables import Attributes

LONGEST_COMMAND = 8000
"""Characters of a command that are kept."""

__all__ = ["attributes_of", "description", "digests"]


def digests(stacks: Mapping[str, Stack], world: World) -> dict[str, str]:
    """File -> SHA-256, the files dealt to the ranks. Collective; CaseError if one cannot be
    read."""
    files = sorted({part.path for stack in stacks.values() for part in stack.parts})
    found = map_in_order(world, _digest, files)
    for path, digest in zip(files, found, strict=True):
        if not digest:
            raise CaseError(f"{path}: cannot be read any more")
    return {str(path): digest for path, digest in zip(files, found, strict=True)}


def _digest(path: Path) -> str:
    try:
        return provenance.file_digest(path)
    except OSError:
        return ""


def attributes_of(
    request: Request,
    stacks: Mapping[str, Stack],
    layout: Layout,
    digests: Mapping[str, str],
    command: str,
) -> Attributes:
    """Those of the dataset's file."""
    times = layout.sample_times
    interval = float(np.mean(np.diff(times))) if layout.samples > 1 else request.interval or 1.0
    ensemble = schema.EnsembleSettings(
        members=layout.members,
        spin_up=max(0.0, times[0]),
        interval=interval,
        samples=layout.samples,
    )
    full = stacks["omega"].shape[-1] if request.full else max(layout.grids)
    told = {
        "name": request.out.stem,
        "grid": {"n": full},
        schema.IMPORTED: {"ensemble": ensemble.model_dump(mode="json")},
    }
    return {
        "case": json.dumps(told),
        "case_hash": provenance.digest(told),
        "case_name": request.out.stem,
        "system": schema.IMPORTED,
        "fields": " ".join(layout.fields),
        "command": command if len(command) <= LONGEST_COMMAND else f"{command[:LONGEST_COMMAND]} …",
        "sources": json.dumps([_source(stack, digests) for stack in stacks.values()]),
        "code_version": provenance.code_version(),
        "library_versions": json.dumps(provenance.library_versions()),
    }


def _source(stack: Stack, digests: Mapping[str, str]) -> dict[str, object]:
    """Where a field comes from. Of several files the first and the last, and the SHA-256 of their
    SHA-256: an attribute holds no more than 64 KiB."""
    names = [part.name for part in stack.parts]
    found = [digests[str(part.path)] for part in stack.parts]
    told: dict[str, object] = {"field": stack.field, "file": names[0], "scale": stack.scale}
    if len(names) == 1:
        return {**told, "sha256": found[0]}
    return {**told, "last": names[-1], "files": len(names), "sha256": provenance.digest(found)}


def description(request: Request, stacks: Mapping[str, Stack], layout: Layout) -> list[str]:
    """How the request was understood, a line each."""
    times, box = layout.sample_times, layout.box
    (_, _, layers, ny, nx) = next(iter(stacks.values())).shape
    walls = [axis for axis, periodic in zip("yx", box.periodic, strict=True) if not periodic]
    edges = f"walls along {' and '.join(walls)}" if walls else "periodic"
    deep = f"{layers} layers of " if layers > 1 else ""
    lines = [
        f"{_counted(layout.members, 'member')} x {_counted(layout.samples, 'sample')}, "
        f"{deep}{ny} x {nx} points, box "
        f"{box.length[0]:.6g} x {box.length[1]:.6g}, {edges}",
        f"times: {times[0]:g} to {times[-1]:g}",
    ]
    for name, stack in stacks.items():
        first, last = stack.parts[0], stack.parts[-1]
        more = f" … {last.name} ({len(stack.parts)} files)" if last is not first else ""
        scaled = f", times {stack.scale:g}" if stack.scale != 1.0 else ""
        turned = [axis for axis, down in zip("yx", first.reversed, strict=True) if down]
        way = f", {' and '.join(turned)} turned so that it goes up" if turned else ""
        lines.append(f"{name}: {first.name}{more}{scaled}{way}")
    if request.full:
        grids = ", ".join(f"{n} (width {width:.4g})" for n, width in layout.grids.items())
        lines.append(f"filtered ({request.filter}) to n = {grids}; pi is exact")
    else:
        taken = "given" if request.width is not None else "taken, since no --width is given"
        lines.append(f"filter width: {request.width or 1.0:g} spacing(s) of the grid ({taken})")
    for name in [name for name in layout.fields if name not in stacks and not request.full]:
        lines.append(f"{name}: computed from {'psi' if name == 'omega' else 'omega'}")
    return lines


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
