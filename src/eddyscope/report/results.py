"""Everything that exists under an output folder, in one plain structure.

Nothing is required. What is missing or damaged is a `Gap` with its reason and the way to
make it; whoever needs it meets `Absent`, which says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import xarray as xr
from pydantic import ValidationError

from eddyscope.artefacts import advice, analysis, evaluation, les
from eddyscope.artefacts.advice import Advice
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.schema import SYSTEMS, EnsembleSettings
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model_header import ModelFile, read_model_file
from eddyscope.artefacts.role import NOT_ADAPTED, Adapted
from eddyscope.artefacts.status import Status, read_status
from eddyscope.config.errors import CaseError

__all__ = ["SYSTEMS", "Absent", "Case", "Gap", "Results", "gather"]

Case = Mapping[str, Any]
"""A case with all its defaults, as plain values."""

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
        return f"{self.what}: {self.why}" + (f"; {self.remedy}" if self.remedy else "")


class FlowInWords(Protocol):
    """What a flow says of itself: its settings, see `FlowSettings` in `flows/base.py`."""

    @property
    def words(self) -> str:
        """The flow in half a sentence."""

    @property
    def stirred_at(self) -> float | None:
        """The wavenumber of its forcing; None where it has none."""


@dataclass
class Results:
    """What a case's output folder holds."""

    out: Path
    case: Case
    flows: Mapping[str, FlowInWords] = field(default_factory=dict)
    """System that the case has -> what its flow says of itself."""
    datasets: dict[str, Dataset] = field(default_factory=dict)
    """System -> its dataset."""
    models: dict[ModelKey, ModelFile] = field(default_factory=dict)
    """Model -> what its file says of itself."""
    adapted: dict[str, Adapted] = field(default_factory=dict)
    """Model, without its repeat -> how its adaptation speaks of itself, in the evaluation's order;
    those that were not evaluated come last."""
    evaluation: evaluation.Summary | None = None
    advice: Advice | None = None
    trees: dict[str, xr.DataTree] = field(default_factory=dict)
    """"evaluation", "analysis" -> the HDF5 artefact of that name."""
    les: dict[str, xr.Dataset] = field(default_factory=dict)
    """Closure's name -> its statistics; "dns" is the filtered DNS."""
    steps: list[Status] = field(default_factory=list)
    """Of the steps that ran, in the order in which they were last at work."""
    gaps: list[Gap] = field(default_factory=list)
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Stage that this case cannot have -> why."""

    def system(self, name: str) -> Mapping[str, Any]:
        """The case's section of a system. Absent if it has none."""
        section: Mapping[str, Any] | None = self.case.get(name)
        if section is None:
            raise Absent(f"the case has no [{name}] system")
        return section

    def dataset(self, system: str) -> Dataset:
        self.system(system)
        return self._need(self.datasets, system, f"the {system} dataset")

    def tree(self, name: str) -> xr.DataTree:
        return self._need(self.trees, name, f"{name}.h5")

    def model(self, key: ModelKey) -> ModelFile:
        return self._need(self.models, key, f"the model {key}")

    def told(self, key: ModelKey) -> Adapted:
        """How a model's adaptation speaks of itself; where no artefact says so, by its name."""
        if key.is_base:
            return NOT_ADAPTED
        name = str(key)
        return self.adapted.get(evaluation.without_repeat(name)) or Adapted(
            role="control", words=name
        )

    def label(self, key: ModelKey) -> str:
        """What a curve or a map of a model is called."""
        told = self.told(key)
        if told.role == "base":
            return "base model"
        if told.role == "layers":  # by their short names: a picture has no room for others
            return f"{evaluation.without_repeat(str(key))} re-trained"
        return f"{told.words} re-trained" if told.role == "ceiling" else told.words

    def closure(self, name: str) -> xr.Dataset:
        return self._need(self.les, name, f"les/{name}.h5")

    def group(self, artefact: str, path: str) -> xr.Dataset:
        """A group of an HDF5 artefact. Absent if it has no such group."""
        tree = self.tree(artefact)
        try:
            return tree[path].to_dataset()
        except KeyError:
            raise Absent(f"{artefact}.h5 has no group {path}") from None

    def _need(self, table: Mapping[Any, T], key: object, what: str) -> T:
        if key not in table:
            raise Absent(f"{what} is missing")
        return table[key]

    def read(self, path: Path, remedy: str, read: Callable[[Path], T]) -> T | None:
        """What `read` gives, or None and a gap noted if it cannot."""
        name = str(path.relative_to(self.out)) if path.is_relative_to(self.out) else str(path)
        if not path.exists():
            self.gaps.append(Gap(name, "not there", remedy))
            return None
        try:
            return read(path)
        except (CaseError, OSError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            self.gaps.append(Gap(name, f"cannot be used ({reason})", remedy))
            return None


def gather(
    out: Path,
    case: Case,
    flows: Mapping[str, FlowInWords],
    models: Sequence[ModelKey] | None = None,
    closures: Sequence[str] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Results:
    """Read what exists under `out` for a resolved `case`. Not collective: call it on one rank.

    flows: system that the case has -> what its flow says of itself.
    models, closures: those that the case asks for; others that are there, as of an earlier case,
    are left out, and it is said. By default all are read. left_out: stage that the case cannot
    have -> why.
    """
    results = Results(out, case, flows, left_out=left_out or {})
    for system in SYSTEMS:
        _gather_dataset(results, system)
    _gather_models(results, models)
    results.advice = results.read(
        out / "advice.json", _made_with_target(results, "advise"), advice.read_advice
    )
    results.evaluation = results.read(
        out / "evaluation.json", _made_with_target(results, "evaluate"), evaluation.read_summary
    )
    _gather_adapted(results)
    for name, stage, read in (
        ("evaluation", "evaluate", evaluation.read_details),
        ("analysis", "analyze", analysis.read_analysis),
    ):
        tree = results.read(out / f"{name}.h5", _made_with_target(results, stage), read)
        if tree is not None:
            results.trees[name] = tree
    _gather_closures(results, closures)
    _gather_steps(results)
    return results


def _made_by(stage: str) -> str:
    """How an artefact is made."""
    return f"make it with `eddyscope {stage}`"


def _made_with_target(results: Results, stage: str) -> str:
    """How an artefact is made that needs both systems."""
    if results.case.get("target") is None:
        return f"`eddyscope {stage}` needs a [target] system"
    if stage in results.left_out:
        return f"`eddyscope {stage}` is left out: {results.left_out[stage]}"
    return _made_by(stage)


def _gather_dataset(results: Results, system: str) -> None:
    section = results.case.get(system)
    if section is None:
        results.gaps.append(Gap(f"[{system}]", "the case has no such system", ""))
        return
    named = section.get("dataset")
    path = Path(named) if named else results.out / system / "dataset.h5"
    remedy = "the case names it" if named else _made_by(f"dns --system {system}")
    split = EnsembleSettings.model_validate(section["ensemble"]).split
    dataset = results.read(path, remedy, lambda path: Dataset(path, split))
    if dataset is not None:
        results.datasets[system] = dataset


def _gather_models(results: Results, wanted: Sequence[ModelKey] | None) -> None:
    folder = results.out / "models"
    named = results.case.get("training", {}).get("model")
    paths = {ModelKey(): Path(named) if named else ModelKey().path(folder)}
    for path in sorted((folder / "transfer").glob("*.safetensors")):
        key = results.read(path, "remove it", lambda p: ModelKey.parse(p.stem))
        if key is not None and _is_wanted(results, path, key, wanted):
            paths[key] = path
    if len(paths) == 1:
        gap = Gap("models/transfer/", "has no models", _made_with_target(results, "transfer"))
        results.gaps.append(gap)
    for key, path in paths.items():
        remedy = _made_by("train") if key.is_base else _made_with_target(results, "transfer")
        found = results.read(path, remedy, read_model_file)
        if found is not None:
            results.models[key] = found


def _gather_adapted(results: Results) -> None:
    """What adaptations say of themselves: in the evaluation, else in the models' own files."""
    found = dict(results.evaluation.adapted) if results.evaluation is not None else {}
    for key, model in results.models.items():
        name = evaluation.without_repeat(str(key))
        try:
            found.setdefault(name, Adapted.model_validate(model.metadata.get("adapted")))
        except ValidationError:
            continue  # of an older version: it goes by its name
    results.adapted = found


def _gather_closures(results: Results, wanted: Sequence[str] | None) -> None:
    paths = sorted((results.out / "les").glob("*.h5"))
    if not paths:
        results.gaps.append(Gap("les/", "has no simulations", _made_with_target(results, "les")))
    for path in paths:
        if not _is_wanted(results, path, path.stem, wanted):
            continue
        found = results.read(path, _made_with_target(results, "les"), les.read_les)
        if found is not None:
            results.les[path.stem] = found


def _is_wanted(results: Results, path: Path, name: T, wanted: Sequence[T] | None) -> bool:
    """Whether the case asks for what is at `path`; if not, that is noted."""
    if wanted is None or name in wanted:
        return True
    shown = str(path.relative_to(results.out))
    results.gaps.append(Gap(shown, "left out, since the case does not ask for it", ""))
    return False


def _gather_steps(results: Results) -> None:
    out = results.out
    paths = [*out.glob("status/*.json"), *(out / s / "status.json" for s in SYSTEMS)]
    for path in sorted(path for path in paths if path.exists()):
        found = results.read(path, "", read_status)
        if found is not None:
            results.steps.append(found)
    results.steps.sort(key=lambda status: status.updated)
