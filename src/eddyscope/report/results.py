"""Everything that exists under an output folder, in one plain structure.

Nothing is required. What is missing or damaged is a `Gap` with its reason and the way to
make it; whoever needs it meets `Absent`, which says the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model_header import ModelFile, read_model_file
from eddyscope.artefacts.status import Status, read_status
from eddyscope.config.errors import CaseError
from eddyscope.storage.opening import open_to_read

__all__ = ["SYSTEMS", "Absent", "Artefact", "Gap", "Results", "gather"]

SYSTEMS = ("base", "target")

T = TypeVar("T")


class Absent(Exception):
    """Something that a picture or a sentence needs is not there; the message says what."""


@dataclass(frozen=True)
class Gap:
    """An artefact that is missing or unusable."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; {self.remedy}"


class Artefact:
    """A small HDF5 artefact: its attributes, and its groups when they are asked for."""

    def __init__(self, path: Path):
        """Raises CaseError if the file is missing or damaged."""
        self.path = path
        with open_to_read(path, "artefact") as file:
            self.attributes: dict[str, Any] = {k: _plain(v) for k, v in file.attrs.items()}
            self.groups: list[str] = []
            file.visititems(lambda name, item: self._note(name, item))

    def _note(self, name: str, item: Any) -> None:
        if hasattr(item, "keys"):
            self.groups.append(name)

    def group(self, name: str = "") -> dict[str, NDArray[Any]]:
        """All variables of a group, by name ("" is the root). Absent if there is no such group."""
        with open_to_read(self.path, "artefact") as file:
            if name and name not in file:
                raise Absent(f"{self.path.name} has no group {name}")
            group = file[name] if name else file
            return {
                key: _array(item[()]) for key, item in group.items() if not hasattr(item, "keys")
            }

    def children(self, name: str) -> list[str]:
        """Names of the groups directly inside a group."""
        prefix = f"{name}/"
        inside = [g.removeprefix(prefix) for g in self.groups if g.startswith(prefix)]
        return [g for g in inside if "/" not in g]


@dataclass
class Results:
    """What a case's output folder holds."""

    out: Path
    case: Mapping[str, Any]
    datasets: dict[str, Dataset] = field(default_factory=dict)
    """System -> its dataset."""
    models: dict[str, ModelFile] = field(default_factory=dict)
    """Model -> what its file says of itself; the base model is "base"."""
    files: dict[str, Artefact] = field(default_factory=dict)
    """"evaluation", "advice", "analysis" -> the HDF5 artefact of that name."""
    texts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """"evaluation", "advice" -> the JSON artefact of that name."""
    les: dict[str, Artefact] = field(default_factory=dict)
    """Closure ("dns" is the filtered DNS) -> its statistics."""
    status: list[Status] = field(default_factory=list)
    """Records of the steps that ran."""
    gaps: list[Gap] = field(default_factory=list)

    def dataset(self, system: str) -> Dataset:
        return self._need(self.datasets, system, f"the {system} dataset")

    def file(self, name: str) -> Artefact:
        return self._need(self.files, name, f"{name}.h5")

    def text(self, name: str) -> dict[str, Any]:
        return self._need(self.texts, name, f"{name}.json")

    def closure(self, name: str) -> Artefact:
        return self._need(self.les, name, f"les/{name}.h5")

    def model(self, name: str) -> ModelFile:
        return self._need(self.models, name, f"the model {name}")

    def _need(self, table: Mapping[str, T], key: str, what: str) -> T:
        if key not in table:
            raise Absent(f"{what} is missing")
        return table[key]

    def try_to(self, what: str, remedy: str, read: Callable[[], T]) -> T | None:
        """What `read` gives, or None and a gap noted if it cannot."""
        try:
            return read()
        except FileNotFoundError:
            self.gaps.append(Gap(what, "not there", remedy))
        except (CaseError, OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error) or type(error).__name__
            self.gaps.append(Gap(what, f"cannot be used ({reason})", remedy))
        return None


def gather(out: Path, case: Mapping[str, Any]) -> Results:
    """Read what exists under `out` for a resolved `case`. Not collective: call it on one rank."""
    results = Results(out, case)
    for system in SYSTEMS:
        path = out / system / "dataset.h5"
        remedy = f"make it with `eddyscope dns --system {system}`"
        dataset = results.try_to(f"{system}/dataset.h5", remedy, lambda p=path: _dataset(p))  # type: ignore[misc]
        if dataset is not None:
            results.datasets[system] = dataset
    _gather_models(results)
    for name, stage in (("advice", "advise"), ("evaluation", "evaluate"), ("analysis", "analyze")):
        _gather_pair(results, name, stage)
    _gather_les(results)
    for path in sorted([*out.glob("status/*.json"), *out.glob("*/status.json")]):
        record = results.try_to(str(path.relative_to(out)), "", lambda p=path: read_status(p))  # type: ignore[misc]
        if record is not None:
            results.status.append(record)
    return results


def _gather_models(results: Results) -> None:
    folder = results.out / "models"
    paths = [folder / "base.safetensors", *sorted((folder / "transfer").glob("*.safetensors"))]
    if len(paths) == 1:
        results.gaps.append(
            Gap("models/transfer/", "has no models", "make them with `eddyscope transfer`")
        )
    for path in paths:
        stage = "train" if path.stem == "base" else "transfer"
        remedy = f"make it with `eddyscope {stage}`"
        name = str(path.relative_to(results.out))
        found = results.try_to(name, remedy, lambda p=path: read_model_file(p))  # type: ignore[misc]
        if found is not None:
            results.models[path.stem] = found


def _gather_pair(results: Results, name: str, stage: str) -> None:
    """NAME.h5 and, but for the analysis, NAME.json."""
    remedy = f"make it with `eddyscope {stage}`"
    path = results.out / f"{name}.h5"
    found = results.try_to(path.name, remedy, lambda: _artefact(path))
    if found is not None:
        results.files[name] = found
    if name != "analysis":
        text = results.try_to(f"{name}.json", remedy, lambda: _json(path.with_suffix(".json")))
        if text is not None:
            results.texts[name] = text


def _gather_les(results: Results) -> None:
    paths = sorted((results.out / "les").glob("*.h5"))
    if not paths:
        results.gaps.append(Gap("les/", "has no simulations", "make them with `eddyscope les`"))
    for path in paths:
        name = f"les/{path.name}"
        found = results.try_to(name, "make it with `eddyscope les`", lambda p=path: _artefact(p))  # type: ignore[misc]
        if found is not None:
            results.les[path.stem] = found


def _dataset(path: Path) -> Dataset:
    if not path.exists():
        raise FileNotFoundError(path)
    return Dataset(path)


def _artefact(path: Path) -> Artefact:
    if not path.exists():
        raise FileNotFoundError(path)
    return Artefact(path)


def _json(path: Path) -> dict[str, Any]:
    tree = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(tree, dict):
        raise ValueError("not a JSON object")
    return tree


def _plain(value: Any) -> Any:
    value = value.decode() if isinstance(value, bytes) else value
    return value.item() if isinstance(value, np.generic) else value


def _array(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind == "O":  # variable-length texts
        return np.array([v.decode() for v in array.ravel()]).reshape(array.shape)
    return array
