"""What a case names in place of making it, datasets and a base model: whether the rest of the case
fits what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationInfo

from eddyscope.artefacts.dataset.named import Named
from eddyscope.artefacts.dataset.schema import SYSTEMS
from eddyscope.artefacts.model import ModelRecord, check_network, read_model
from eddyscope.config.errors import CaseError
from eddyscope.config.files import beside_the_case
from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = ["check_model", "check_widths", "filled", "shared_grid", "without_shells"]


def filled(
    given: Mapping[str, object], info: ValidationInfo
) -> tuple[dict[str, object], ModelRecord | None]:
    """A case file's table, with what its base model says where it is silent; and what the file of
    that model says, if it names one. ValueError for one that it cannot name."""
    tree = dict(given)
    record = _record(tree, info)
    if record is not None:
        tree["network"] = _over(record.network, tree.get("network"))
    if _nothing_simulated(tree):
        tree = {"grid": None, "time": None, **tree}
    return tree, record


def _record(tree: dict[str, object], info: ValidationInfo) -> ModelRecord | None:
    """What the file of the base model says that a case names. ValueError for one it cannot."""
    training = tree.get("training")
    name = training.get("model") if isinstance(training, dict) else None
    if not isinstance(name, str):
        return None
    path = Path(beside_the_case(name, info))
    try:
        record = read_model(path).record
    except CaseError as error:
        raise ValueError(str(error)) from None
    if not record.model_key.is_base:
        raise ValueError(
            f"training.model = {name!r} is the model {record.key}, re-trained for another system; "
            "name a base model"
        )
    return record


def _over(network: NetworkSettings, given: object) -> object:
    """The network of a base model that is named, with what the case says itself laid over it."""
    if given is None:
        return network
    stored = network.model_dump(mode="json")
    if not isinstance(given, dict) or given.get("kind", stored["kind"]) != stored["kind"]:
        return given
    return {**stored, **given}


def _nothing_simulated(tree: dict[str, object]) -> bool:
    """Whether a case file names the dataset of every system that it has."""
    systems = [tree[name] for name in SYSTEMS if tree.get(name)]
    return bool(systems) and all(isinstance(s, dict) and s.get("dataset") for s in systems)


def check_widths(named: Mapping[str, Named], n: int) -> None:
    """Raise ValueError where a dataset does not have the network's grid, n."""
    for system, dataset in named.items():
        if n not in dataset.widths:
            raise ValueError(
                f"{system}.dataset = {str(dataset.path)!r} has grids n = "
                f"{', '.join(map(str, dataset.widths))}, but the network's is {n}; set network.n, "
                "or name another dataset"
            )


def shared_grid(named: Mapping[str, Named], wanted: int) -> int:
    """The coarse grid `wanted` where all datasets have it, or none is shared; else the smallest
    that they share."""
    grids = [set(dataset.widths) for dataset in named.values()]
    shared = set.intersection(*grids) if grids else set()
    return wanted if not shared or wanted in shared else min(shared)


def check_model(
    record: ModelRecord, path: Path, network: NetworkSettings, channels: Channels
) -> None:
    """CaseError where the base model at `path` is not as the case says."""
    check_network(path, record.network, network)
    if network.n not in (None, record.grid.n):
        raise CaseError(
            f"network.n = {network.n}, but {path} was trained on n = {record.grid.n}; leave it out"
        )
    if record.channels != channels:
        raise CaseError(
            f"{path}: the model takes {', '.join(record.channels.inputs)} and gives "
            f"{', '.join(record.channels.outputs)}, but the case has "
            f"{', '.join(channels.inputs)} and {', '.join(channels.outputs)}"
        )


def without_shells(named: Mapping[str, Named]) -> str:
    """Why spectra by shells are left out; empty where they are not."""
    others = [name for name, dataset in named.items() if not dataset.spectral]
    if not others:
        return ""
    return (
        f"the fields of {' and '.join(others)} are not periodic in a square box with as many "
        "points along y as along x, so they have no spectra by shells"
    )
