"""Models on the disk: the round trip, and every way a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from eddyscope.artefacts.dataset.schema import SIGN_CONVENTION
from eddyscope.artefacts.model import Model, load_model, save_model
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.networks.cnn import Cnn

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
NORMALISATION = Normalisation("own", "target", 0.0, 0.1, 0.0, 3.0, 0.7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    network = ClosureNetwork(SETTINGS, (4,)).to(memory_format=torch.channels_last)
    metadata = {"grid": {"n": 16, "filter_width": 0.8}, "retrained": ["l02"], "parent": "ab" * 32}
    metadata |= {"history": {"train": [0.1, 0.05], "validation": []}}
    save_model(tmp_path / "l02.safetensors", Model(network, NORMALISATION, "l02", metadata))
    return tmp_path / "l02.safetensors"


def rewrite(path: Path, **changes: str) -> None:
    """The same weights with other metadata."""
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {**metadata, **changes})


def test_round_trip(path: Path):
    model = load_model(path, SETTINGS)
    assert model.name == "l02" and model.normalisation == NORMALISATION
    assert model.metadata["retrained"] == ["l02"] and model.metadata["parent"] == "ab" * 32
    assert model.metadata["history"] == {"train": [0.1, 0.05], "validation": []}
    expected = ClosureNetwork(SETTINGS, (4,)).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in model.network.state_dict().items())
    assert not list(path.parent.glob("*.tmp"))


def test_missing_file(tmp_path: Path):
    with pytest.raises(CaseError, match="no such model"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_file_cut_short(path: Path, keep: int):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CaseError, match="damaged"):
        load_model(path)


def test_flipped_bit_in_the_weights(path: Path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaseError, match="SHA-256"):
        load_model(path)


def test_other_sign_convention(path: Path):
    rewrite(path, sign_convention="pi has the other sign")
    with pytest.raises(CaseError) as error:
        load_model(path)
    assert "pi has the other sign" in str(error.value) and SIGN_CONVENTION in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("depth", 4), ("width", 8), ("kernel_size", 5), ("padding", "zeros")]
)
def test_other_architecture(path: Path, key: str, value: object):
    with pytest.raises(CaseError) as error:
        load_model(path, SETTINGS.model_copy(update={key: value}))
    assert f"network.{key} = {value!r}" in str(error.value)
    assert repr(getattr(SETTINGS, key)) in str(error.value) and "\n" not in str(error.value)


def test_other_coarse_grid_is_not_another_architecture(path: Path):
    assert load_model(path, SETTINGS.model_copy(update={"n": 64})).name == "l02"


def test_foreign_safetensors_file(tmp_path: Path):
    save_file({"w": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(CaseError, match="not a model of this program"):
        load_model(tmp_path / "w.safetensors")


@pytest.mark.parametrize("changes", [{"normalisation": "{}"}, {"architecture": "not json"}])
def test_metadata_that_makes_no_sense(path: Path, changes: dict[str, str]):
    rewrite(path, **changes)
    with pytest.raises(CaseError, match="not a usable model"):
        load_model(path)
