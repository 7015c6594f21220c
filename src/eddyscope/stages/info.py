"""`eddyscope info FILE`: what is in this artefact, in a few plain lines.

Knows datasets, analyses and other HDF5 artefacts, models, checkpoints, and JSON artefacts.
Reads headers only, but for datasets, whose checksums it verifies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model_header import ModelFile, read_model_file
from eddyscope.config.errors import CaseError
from eddyscope.parallel.world import World
from eddyscope.storage.opening import Headers, read_headers

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

SHOWN = 12
"""Groups or variables that are listed before the rest is only counted."""


def run(path: Path, world: World) -> None:
    """Say what `path` holds. Collective; CaseError if it is missing, damaged or unknown."""
    lines = world.on_root(lambda: describe(path))
    world.say("\n".join(lines))


def describe(path: Path) -> list[str]:
    """The lines about an artefact. Not collective. CaseError as in `run`."""
    if path.is_dir():
        raise CaseError(f"{path}: a folder; name a file in it, such as base/dataset.h5")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise CaseError(f"{path}: no such file") from None
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error.strerror})") from None
    return [f"{path} ({_bytes(size)})", *_contents(path, head)]


def _contents(path: Path, head: bytes) -> list[str]:
    """Told by the bytes, not by the name, so that a damaged file is not taken for another."""
    if head.startswith(HDF5_SIGNATURE):
        try:
            return _hdf5(path)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            reason = str(error).strip()
            raise CaseError(f"{path}: damaged inside ({reason}); make it again") from None
    if path.suffix in (".h5", ".hdf5"):
        raise CaseError(
            f"{path}: not an HDF5 file, though its name says so; it may be cut short or damaged: "
            "make it again"
        )
    if path.suffix == ".json" or head[:1] == b"{":
        return _json(path)
    if path.suffix in (".safetensors", ".ckpt") or head[8:9] == b"{":
        return _model(read_model_file(path))
    raise CaseError(
        f"{path}: not an artefact of this program; it knows HDF5 (.h5), models (.safetensors), "
        "checkpoints and .json"
    )


def _hdf5(path: Path) -> list[str]:
    headers = read_headers(path)
    kind = headers.attributes.get("format")
    if kind == schema.FORMAT:
        return _dataset(path)
    lines = [f"kind: {kind or _guess(path, headers)}", *_origin(headers.attributes)]
    for group in [g for g in headers.groups if "/" not in g]:
        lines.append(f"group {group}: {_some(headers.inside(group))}")
    variables = [f"{name} {shape}" for name, shape in headers.shapes.items() if "/" not in name]
    return lines + ([f"variables: {_some(variables)}"] if variables else [])


def _guess(path: Path, headers: Headers) -> str:
    """What an HDF5 file without a format is, by its folder and name."""
    if path.parent.name == "les":
        return f"large-eddy simulation with closure {path.stem}"
    if "case_hash" in headers.attributes:
        return path.stem
    return "HDF5 file, not marked as this program's"


def _dataset(path: Path) -> list[str]:
    dataset = Dataset(path)
    done, total = int(dataset.committed.sum()), int(dataset.committed.size)
    grids = ", ".join(
        f"{n} x {n} (filter width {dataset.filter_width[n]:.4g})" for n in dataset.grids
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
        checked if done else "checksums: nothing committed yet",
        *([f"quality: {quality(dataset).summary}"] if dataset.complete and not damaged else []),
    ]


def _model(model: ModelFile) -> list[str]:
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
        "normalised by": _normalisation(facts.get("normalisation")),
        "epochs": len(model.losses("train")) or None,
        "metrics": facts.get("metrics"),
        "signs": facts.get("sign_convention"),
    }
    return lines + [f"{key}: {_plain(value)}" for key, value in named.items() if value is not None]


def _normalisation(found: Any) -> str | None:
    if not isinstance(found, dict):
        return None
    return f"training samples of the {found.get('system')} system ({found.get('kind')})"


def _json(path: Path) -> list[str]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseError(
            f"{path}: not readable as JSON ({error}); it may be cut short or damaged: make it again"
        ) from None
    if not isinstance(tree, dict):
        raise CaseError(f"{path}: JSON, but not an artefact of this program")
    return [f"kind: {_json_kind(tree)}", *_origin(tree), *_json_facts(tree)]


def _json_kind(tree: Mapping[str, Any]) -> str:
    if "ranking" in tree and "scores" in tree:
        return "advice"
    if "models" in tree:
        return "evaluation"
    if "step" in tree and "state" in tree:
        return "status of a step"
    return "JSON file, not known to this program"


def _json_facts(tree: Mapping[str, Any]) -> list[str]:
    if "ranking" in tree and "scores" in tree:
        return [
            f"advice: {' > '.join(tree['ranking'])} (by {tree.get('default_score')})",
            f"reason: {tree.get('reason')}",
        ]
    if "models" in tree:
        return [f"models: {_some(list(tree['models']))}"]
    keys = ("step", "state", "message", "updated", "ranks")
    facts = [f"{key}: {tree[key]}" for key in keys if tree.get(key) is not None]
    return facts or [f"keys: {_some(list(tree))}"]


def _origin(attributes: Mapping[str, Any]) -> list[str]:
    """Lines on the case and the code, from whatever names them."""
    lines = []
    if "case_name" in attributes or "case_hash" in attributes:
        digest = str(attributes.get("case_hash", "not recorded"))[:16]
        lines.append(f"case: {attributes.get('case_name', 'not recorded')} (hash {digest})")
    if "code_version" in attributes:
        lines.append(f"made by: eddyscope {attributes['code_version']}")
    return lines


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


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
