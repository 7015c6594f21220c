"""Do two output folders hold the same numbers, bit for bit?

    python jobs/same_numbers.py runs/before runs/after
    python jobs/same_numbers.py runs/before runs/after --json jobs/results/same_numbers.json

Compares, by name, every array of each dataset.h5 and every weight of each model that is in the
first folder, whatever version of the program wrote it; how a file is laid out, its attributes
and its checksums may differ. For arrays that differ it tells by how much. Exit status 0 if all
that is compared is the same, 1 if anything differs or is missing in the second folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import safe_open

LAYOUT = ("checksum",)
"""Arrays whose name ends so are no results: they follow from the others and the file's format."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="an output folder, or a folder of them")
    parser.add_argument("after", type=Path, help="what it is compared with")
    parser.add_argument("--json", type=Path, help="file for what was found")
    arguments = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(files_of(arguments.before)):
        name = str(path.relative_to(arguments.before))
        found[name] = compare(path, arguments.after / name)
        print(f"{name}: {words(found[name])}")
    if arguments.json:
        record = {"command": " ".join(["python", *sys.argv]), "files": found}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    same = bool(found) and all(not f["different"] and not f["missing"] for f in found.values())
    compared = sum(f["same"] for f in found.values())
    print(f"{'the same' if same else 'NOT the same'}: {compared} arrays of {len(found)} files")
    return 0 if same else 1


def files_of(folder: Path) -> Iterator[Path]:
    yield from folder.rglob("dataset.h5")
    yield from folder.rglob("*.safetensors")


def compare(before: Path, after: Path) -> dict[str, Any]:
    """How many arrays are the same, which differ by how much, and which are missing."""
    old = arrays_of(before)
    new = arrays_of(after) if after.exists() else {}
    missing = sorted(old.keys() - new.keys())
    different = {
        name: distance(array, new[name])
        for name, array in old.items()
        if name in new and not is_same(array, new[name])
    }
    same = len(old) - len(missing) - len(different)
    return {"same": same, "different": different, "missing": missing}


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.endswith(LAYOUT):
            arrays[name] = np.asarray(item[()])

    with h5py.File(path, "r", locking=False) as file:
        file.visititems(visit)
    return arrays


def is_same(old: np.ndarray, new: np.ndarray) -> bool:
    return old.shape == new.shape and old.dtype == new.dtype and old.tobytes() == new.tobytes()


def distance(old: np.ndarray, new: np.ndarray) -> str:
    """By how much two arrays differ, in words."""
    if old.shape != new.shape:
        return f"shape {old.shape} and {new.shape}"
    if old.dtype.kind not in "fc" or new.dtype.kind not in "fc":
        return f"{int(np.sum(old != new))} of {old.size} values"
    size = np.linalg.norm(np.nan_to_num(old))
    far = np.linalg.norm(np.nan_to_num(old) - np.nan_to_num(new))
    return f"relative L2 distance {far / size if size else far:.2e}"


def words(found: dict[str, Any]) -> str:
    parts = [f"{found['same']} arrays the same"]
    parts += [f"{name} differs ({text})" for name, text in found["different"].items()]
    parts += [f"{name} is missing" for name in found["missing"]]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
