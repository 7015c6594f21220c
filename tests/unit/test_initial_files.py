"""An initial condition that is read from a file of ours is verified as by every other reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import synthetic
from eddyscope.artefacts.dataset.layout import Box, Layout
from eddyscope.artefacts.dataset.writer import create
from eddyscope.config.errors import CaseError
from eddyscope.flows.initial import INITIALS
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.spectral.grid import BOX
from eddyscope.storage.seal import footer_of
from small_flows import make_transform_on, state_of

N = 16


@pytest.fixture
def dataset(tmp_path) -> Path:
    case = synthetic.make_case(tmp_path)
    synthetic.write_dataset(case, "base", tmp_path / "dataset.h5", World.single())
    return tmp_path / "dataset.h5"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    transform = make_transform_on(World.single(), N, members=2)
    checkpoints = Checkpoints(tmp_path, CheckpointSettings(), "a run", transform)
    checkpoints.save({"step": 7}, {"omega_hat": state_of(transform)})
    return tmp_path / "step-0000000007.h5"


def begin(kind: str, path: Path, **settings: int) -> np.ndarray:
    """The first member's initial vorticity."""
    initial = INITIALS.build(INITIALS.settings(kind, path=str(path), **settings), 0)
    return initial.coefficients(N, 0)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def unsealed(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -len(footer_of(path))])


def place_of(path: Path, name: str) -> int:
    """Where the array's last sample of the first member begins in the file."""
    with h5py.File(path, "r", locking=False) as file:
        array = file[name]
        offset: int = array.id.get_offset()
        return offset + (array.shape[1] - 1) * int(np.prod(array.shape[2:])) * array.dtype.itemsize


def with_attribute(name: str, value: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with synthetic.edited(path) as file:
            file.attrs[name] = value

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit of its vorticity": (lambda p: flip(p, place_of(p, "n016/omega")), "n016/omega is dam"),
    "a bit of its metadata": (lambda p: flip(p, 200), "metadata of this dataset is damaged"),
    "no seal": (unsealed, "has no seal"),
    "another sign": (with_attribute("sign_convention", "laplacian(psi) = omega"), "sign conv"),
    "another format": (with_attribute("format", "eddyscope-dataset-2"), "not an eddyscope dataset"),
}


@pytest.mark.parametrize("name", list(DAMAGE))
def test_a_dataset_that_no_one_else_would_read_starts_no_run(dataset, name):
    assert np.any(begin("dataset", dataset, n=16))
    damage, words = DAMAGE[name]
    damage(dataset)
    with pytest.raises(CaseError, match=words):
        begin("dataset", dataset, n=16)


def test_a_sample_that_is_not_committed_starts_no_run(dataset):
    with synthetic.edited(dataset) as file:
        file["n016/committed"][0, 1] = 0
    assert np.any(begin("dataset", dataset, n=16, sample=0))
    with pytest.raises(CaseError, match="not committed"):
        begin("dataset", dataset, n=16, sample=1)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"fields": {"h": "height"}}, r"holds h in a box 6\.283 x 6\.283; a run starts from omega"),
        ({"box": Box((1.0, 2.0), (True, True))}, "in a box 2 x 1;"),
        ({"box": Box((BOX, BOX), (False, True))}, r"6\.283, with walls along y;"),
        ({"rows": 8, "box": Box((0.5 * BOX, BOX))}, r"6\.283 x 3\.142;"),
    ],
)
def test_a_dataset_of_another_box_or_other_fields_starts_no_run(tmp_path, layout, words):
    """As data from elsewhere may have them."""
    path, comm = tmp_path / "dataset.h5", World.single().comm
    facts = {"case": "{}", "system": "base"}
    create(path, comm, Layout(1, (0.0,), (), 0, {16: 0.5}, **layout), facts)
    with pytest.raises(CaseError, match=words):
        begin("dataset", path, n=16)


def test_a_dataset_without_what_is_asked_for_says_what_it_has(dataset):
    with pytest.raises(CaseError, match=r"initial\.n = 8; it has 16"):
        begin("dataset", dataset, n=8)
    for sample in (4, -5):
        with pytest.raises(CaseError, match=rf"initial\.sample = {sample}.* from 0 to 3"):
            begin("dataset", dataset, n=16, sample=sample)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: flip(p, place_of(p, "omega_hat")), "omega_hat is damaged"),
        (lambda p: flip(p, 200), "not a readable checkpoint"),
        (unsealed, "not a readable checkpoint"),
        (Path.unlink, "missing|no such"),
    ],
    ids=["a bit of its state", "a bit of its metadata", "no seal", "not there"],
)
def test_a_damaged_checkpoint_starts_no_run(checkpoint, damage, words):
    assert np.any(begin("checkpoint", checkpoint))
    damage(checkpoint)
    with pytest.raises(CaseError, match=words):
        begin("checkpoint", checkpoint)
