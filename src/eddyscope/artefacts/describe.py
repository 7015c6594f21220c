"""What is in an artefact, in a few plain lines: told by its bytes and its `format`.

Datasets and models, which are verified, and all else by headers and small texts alone: a file
may declare arrays larger than any memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from eddyscope.artefacts import les, normalisation, study
from eddyscope.artefacts.advice import read_advice
from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.evaluation import Row, check_table, read_summary
from eddyscope.artefacts.model_header import ModelFile, read_model_file
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.artefacts.status import read_last, read_status
from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.config.words import shortened
from eddyscope.storage.opening import Headers, read_headers

__all__ = ["describe"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

SHOWN = 12
"""Groups or variables that are listed before the rest is only counted."""

LARGEST_TEXT = 64 * 2**20
"""Bytes of a JSON or CSV artefact; ours have less than one MiB."""

KNOWN = (
    "it knows HDF5 (.h5), models (.safetensors), checkpoints, .json, evaluation.csv and study.csv"
)


def describe(path: Path) -> list[str]:
    """The lines about an artefact. Not collective. CaseError if missing, damaged or unknown."""
    require_file(path, "file")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(16)
        return [f"{path} ({_bytes(size)})", *_contents(path, head)]
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error.strerror or error})") from None


def _contents(path: Path, head: bytes) -> list[str]:
    """Told by the bytes, not by the name, so that a damaged file is not taken for another."""
    if head.startswith(HDF5_SIGNATURE):
        return _hdf5(path)
    if path.suffix in (".h5", ".hdf5"):
        raise CaseError(
            f"{path}: not an HDF5 file, though its name says so; it may be cut short or damaged: "
            "make it again"
        )
    if path.suffix == ".json" or head[:1] == b"{":
        return _json(path)
    if path.suffix in (".safetensors", ".ckpt") or head[8:9] == b"{":
        return _tensors(read_model_file(path))
    if path.suffix == ".csv":
        return _table(path)
    raise CaseError(f"{path}: not an artefact of this program; {KNOWN}")


# --- HDF5 ----------------------------------------------------------------------------------


def _hdf5(path: Path) -> list[str]:
    try:
        headers = read_headers(path)
        if str(headers.attributes.get("format")) == schema.FORMAT:
            return _dataset(path)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, MemoryError) as error:
        raise CaseError(f"{path}: damaged inside ({str(error).strip()}); make it again") from None
    texts = {key: str(value) for key, value in headers.attributes.items()}
    lines = [f"kind: {_kind(path, headers)}", *_origin(texts)]
    for group in [g for g in headers.groups if "/" not in g]:
        lines.append(f"group {group}: {shortened(headers.inside(group), SHOWN)}")
    variables = [f"{name} {shape}" for name, shape in headers.shapes.items() if "/" not in name]
    return lines + ([f"variables: {shortened(variables, SHOWN)}"] if variables else [])


def _kind(path: Path, headers: Headers) -> str:
    """What an HDF5 file is: by its format, else by what it holds, and what it is called."""
    found = headers.attributes
    kind = found.get("format")
    if isinstance(kind, str):
        is_les = kind == les.FORMAT
        return f"large-eddy simulation with closure {found.get('closure')}" if is_les else kind
    if {"clock_step", "clock_time"} <= found.keys() and "omega_hat" in headers.shapes:
        return (
            f"checkpoint of a simulation at step {found['clock_step']}, "
            f"t = {found['clock_time']:g}; to go on, call the stage again"
        )
    if "case_hash" in found:
        return path.stem
    return "HDF5 file, not marked as this program's"


def _dataset(path: Path) -> list[str]:
    dataset = Dataset(path)
    done, total = int(dataset.committed.sum()), int(dataset.committed.size)
    grids = ", ".join(
        f"{ny} x {nx} (filter width {dataset.filter_width[n]:.4g})"
        for n, (ny, nx) in sorted(dataset.points.items())
    )
    parts = ", ".join(f"{len(members)} {part}" for part, members in dataset.parts.items())
    damaged = dataset.verify()
    checked = "checksums: all match"
    if damaged:
        n, member, sample = damaged[0]
        checked = (
            f"checksums: {len(damaged)} committed sample(s) do not match; the first is grid {n}, "
            f"member {member}, sample {sample}: make the dataset again"
        )
    return [
        f"kind: dataset ({schema.FORMAT}) of the {dataset.system} system",
        *_origin(dataset.attributes),
        f"samples: {done} of {total} committed ({dataset.members} members x {dataset.samples}; "
        f"{parts})",
        f"times: {dataset.time.min():g} to {dataset.time.max():g}",
        f"grids: {grids}",
        f"signs: {dataset.attributes['sign_convention']}",
        *_imported(dataset.attributes),
        checked if done else "checksums: nothing committed yet",
        *([f"quality: {quality(dataset).summary}"] if dataset.complete and not damaged else []),
    ]


def _imported(attributes: Mapping[str, Any]) -> list[str]:
    """Lines on a dataset that was imported: its fields, its box, where it comes from."""
    if attributes["system"] != schema.IMPORTED:
        return []
    sources = [
        f"{source['field']} of {source['file']}"
        + (f" … {source['last']} ({source['files']} files)" if "last" in source else "")
        for source in json.loads(attributes["sources"])
    ]
    box = ""
    if "length" in attributes:
        (ly, lx), walls = attributes["length"], ["walls", "periodic"]
        edges = [walls[int(periodic)] for periodic in attributes["periodic"]]
        box = f" in a box of {ly:.6g} (y, {edges[0]}) x {lx:.6g} (x, {edges[1]})"
    return [f"fields: {attributes['fields']}{box}", f"imported: {shortened(sources, SHOWN)}"]


# --- Tensors -------------------------------------------------------------------------------


def _tensors(model: ModelFile) -> list[str]:
    facts = model.metadata
    provenance = facts.get("provenance")
    lines = [
        f"kind: {facts.get('format', 'safetensors file, not marked as this program’s')}",
        *_origin(provenance if isinstance(provenance, dict) else facts),
        f"tensors: {len(model.shapes)}, {model.parameters} numbers",
    ]
    named = {
        "model": facts.get("key"),
        "network": facts.get("network"),
        "re-trained": facts.get("retrained"),
        "layers": facts.get("layers"),
        "no layers": facts.get("left_out") or None,
        "normalisation": _normalisation(facts.get("normalisation")),
        "scales": facts.get("scales") or None,
        "epochs": len(model.losses("train")) or None,
        "metrics": facts.get("metrics"),
        "signs": facts.get("sign_convention"),
    }
    return lines + [f"{key}: {_plain(value)}" for key, value in named.items() if value is not None]


def _normalisation(found: Any) -> str | None:
    if not isinstance(found, dict):
        return None
    return (
        f"{found.get('name')}, by statistics of {found.get('samples')} training samples of the "
        f"{found.get('system')}"
    )


# --- Texts ---------------------------------------------------------------------------------


def _json(path: Path) -> list[str]:
    require_file(path, "JSON artefact", largest=LARGEST_TEXT)
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CaseError(
            f"{path}: not readable as JSON ({error}); it may be cut short or damaged: make it again"
        ) from None
    if not isinstance(tree, dict):
        raise CaseError(f"{path}: JSON, but not an artefact of this program")
    return _facts(path, tree)


def _facts(path: Path, tree: Mapping[str, Any]) -> list[str]:
    """What a JSON artefact says, by its reader. CaseError where it is not as it should be."""
    if tree.get("format") == normalisation.FORMAT:
        found = read_normalisation(path)
        return [
            f"kind: {normalisation.FORMAT}",
            f"normalisation: {_normalisation(found.model_dump())}",
        ]
    if tree.get("format") == study.FORMAT and "complete" in tree:
        return _study_status(tree)
    if "format" in tree:
        return [f"kind: {tree['format']}", *_origin(tree), f"keys: {shortened(list(tree), SHOWN)}"]
    if {"ranking", "scores"} <= tree.keys():
        advice = read_advice(path)
        groups = advice.by_default.groups
        ranking = " > ".join(map(" = ".join, groups)) if len(groups) > 1 else "none"
        return [
            "kind: advice",
            f"advice: {ranking} (by {advice.default_score})",
            f"reason: {advice.reason}",
        ]
    if "models" in tree:
        summary = read_summary(path)
        best = summary.best or "none: no layer was re-trained alone"
        return [
            "kind: evaluation",
            f"models: {shortened(list(summary.models), SHOWN)}",
            f"best: {best}",
        ]
    if {"step", "state", "sections"} <= tree.keys():
        return _status(path)
    if {"step", "state", "record"} <= tree.keys():
        return _last(path)
    return ["kind: JSON file, not known to this program", f"keys: {shortened(list(tree), SHOWN)}"]


def _study_status(tree: Mapping[str, object]) -> list[str]:
    """status.json of a study."""
    found = tree["cases"]
    cases = [f"{case}: {cells}" for case, cells in found.items()] if isinstance(found, dict) else []
    return [
        f"kind: status of the study {tree['name']}",
        f"cells: {tree['complete']} of {tree.get('cells')} complete, {tree['missing']} missing",
        *(f"  {case}" for case in cases),
        f"updated: {tree.get('updated')}",
    ]


def _status(path: Path) -> list[str]:
    found = read_status(path)
    if found is None:
        raise CaseError(f"{path}: no such file")
    return [
        "kind: status of a step",
        f"step: {found.step}",
        f"state: {found.state}",
        f"message: {found.message}",
        f"updated: {found.updated}",
        f"ranks: {found.ranks}",
        f"made by: eddyscope {found.code_version}",
    ]


def _last(path: Path) -> list[str]:
    """status.json of an output folder."""
    found = read_last(path.parent)
    if found is None:
        raise CaseError(f"{path}: not in an output folder, where it is called status.json")
    return [
        "kind: status of the step that was last at work here",
        f"step: {found.step}",
        f"state: {found.state}",
        f"message: {found.message}",
        f"updated: {found.updated}",
        f"record: {found.record}",
    ]


def _table(path: Path) -> list[str]:
    """evaluation.csv, by its first line. CaseError for any other table, or a changed one."""
    require_file(path, "table", largest=LARGEST_TEXT)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            columns, *rows = csv.reader(file)
    except (ValueError, csv.Error) as error:
        raise CaseError(f"{path}: not readable as a table ({error})") from None
    if columns[: len(study.KEYS)] == list(study.KEYS):
        return _study(columns, rows)
    if columns != [field.name for field in fields(Row)]:
        raise CaseError(f"{path}: not a table of this program; {KNOWN}")
    check_table(path)
    models = list(dict.fromkeys(row[0] for row in rows if row))
    return [
        "kind: evaluation, one row a model, system, metric and test member",
        f"rows: {len(rows)}",
        f"models: {shortened(models, SHOWN)}",
    ]


def _study(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A table of a study: its cases, its cells, and what is varied."""
    settings = [name for name in columns if "." in name]
    cases = list(dict.fromkeys(row[0] for row in rows if row))
    return [
        "kind: study, one row a cell, model, system, metric and test member",
        f"rows: {len(rows)}, of {len({row[1] for row in rows if len(row) > 1})} cells",
        f"cases: {shortened(cases, SHOWN)}",
        f"settings: {shortened(settings, SHOWN)}",
    ]


# --- Words ---------------------------------------------------------------------------------


def _origin(attributes: Mapping[str, Any]) -> list[str]:
    """Lines on the case and the code, from whatever names them."""
    lines = []
    if "case_name" in attributes or "case_hash" in attributes:
        digest = str(attributes.get("case_hash", "not recorded"))[:16]
        lines.append(f"case: {attributes.get('case_name', 'not recorded')} (hash {digest})")
    if "code_version" in attributes:
        lines.append(f"made by: eddyscope {attributes['code_version']}")
    return lines


def _plain(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(entry) for entry in value) or "nothing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _bytes(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024  # type: ignore[assignment]
    return f"{size:.1f} GiB"
