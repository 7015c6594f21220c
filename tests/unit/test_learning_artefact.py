"""Models on the disk: the round trip, and every way a file can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from eddyscope.artefacts.dataset.schema import SIGN_CONVENTION
from eddyscope.artefacts.model import read_model, write_model
from eddyscope.artefacts.normalisation import (
    Normalisation,
    read_normalisation,
    write_normalisation,
)
from eddyscope.artefacts.tensor_file import write_tensors
from eddyscope.config.errors import CaseError
from eddyscope.learning.models import Model, load_model, save_model, weights_of
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.networks.state import scale_output
from eddyscope.networks.unet import Unet
from synthetic_models import record_of

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
ZERO = {"psi": 0.0, "omega": 0.0, "pi": 0.0}
NORMALISATION = Normalisation(
    name="target", system="target", samples=3, mean=ZERO, std={"psi": 0.1, "omega": 3.0, "pi": 0.7}
)
RECORD = record_of("l02", SETTINGS, NORMALISATION)


def network() -> LayeredModel:
    return build(SETTINGS, Channels.of_flow(), (4,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = network()
    made.module.to(memory_format=torch.channels_last)
    save_model(tmp_path / "l02.safetensors", Model(made, RECORD))
    return tmp_path / "l02.safetensors"


def contents(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(path, framework="np") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118


def rewrite(path: Path, **changes: str | None) -> None:
    """The same weights with other metadata and a digest that holds; None leaves a text out."""
    arrays, texts = contents(path)
    changed = {k: v for k, v in {**texts, **changes}.items() if v is not None and k != "digest"}
    write_tensors(path, arrays, changed)


def reweigh(path: Path, **changes: np.ndarray | None) -> None:
    """The same metadata with other weights and a digest that holds; None leaves one out."""
    arrays, texts = contents(path)
    named = {name.replace("_", "."): array for name, array in changes.items()}
    changed = {k: v for k, v in {**arrays, **named}.items() if v is not None}
    write_tensors(path, changed, {k: v for k, v in texts.items() if k != "digest"})


def refused(path: Path) -> str:
    """The one line with which the file is refused."""
    with pytest.raises(CaseError) as error:
        load_model(path)
    text = str(error.value)
    assert "\n" not in text and str(path) in text
    return text


def test_round_trip(path: Path):
    model = load_model(path, SETTINGS)
    assert str(model.key) == "l02" and model.normalisation == NORMALISATION
    facts = {"layers": {name: name for name in ("l01", "l02", "l03")}}
    assert (
        model.record == RECORD.model_copy(update=facts)
        and model.digest == contents(path)[1]["digest"]
    )
    expected = weights_of(network())
    found = weights_of(model.network)
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
    assert not list(path.parent.glob("*.tmp"))


def test_reading_needs_no_torch(path: Path):
    program = (
        "import sys; from pathlib import Path; from eddyscope.artefacts.model import read_model; "
        f"read_model(Path({str(path)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_both_networks_can_be_stored(tmp_path: Path):
    settings = Unet.Settings(width=2)
    made = build(settings, Channels.of_flow(), (4,))
    save_model(tmp_path / "u.safetensors", Model(made, record_of("base", settings, NORMALISATION)))
    found = load_model(tmp_path / "u.safetensors", settings).network
    x = torch.randn(1, 2, 8, 8)
    assert torch.equal(found(x), made(x))
    with pytest.raises(CaseError, match=r"kind = 'unet', but the case has network\.kind = 'cnn'"):
        load_model(tmp_path / "u.safetensors", SETTINGS)


def test_a_scale_of_the_output_is_stored(tmp_path: Path):
    made = network()
    expected = -3.0 * made(torch.ones(1, 2, 8, 8))
    scale_output(made.module, torch.tensor(-1.5))
    scale_output(made.module, torch.tensor(2.0))
    save_model(tmp_path / "s.safetensors", Model(made, RECORD))
    found = load_model(tmp_path / "s.safetensors", SETTINGS).network
    torch.testing.assert_close(found(torch.ones(1, 2, 8, 8)), expected)


def test_missing_file(tmp_path: Path):
    with pytest.raises(CaseError, match="no such model"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_file_cut_short(path: Path, keep: int):
    path.write_bytes(path.read_bytes()[:keep])
    assert "damaged" in refused(path)


def test_flipped_bit_in_the_weights(path: Path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert "SHA-256" in refused(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'\\"psi\\": 0.1', b'\\"psi\\": 0.2'),
        (b'\\"filter_width\\": 0.8', b'\\"filter_width\\": 0.9'),
        (b'\\"l02\\"', b'\\"l01\\"'),
    ],
)
def test_changed_digit_of_the_metadata(path: Path, old: bytes, new: bytes):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    assert "SHA-256" in refused(path)


def test_other_sign_convention(path: Path):
    rewrite(path, sign_convention="pi has the other sign")
    assert "pi has the other sign" in (text := refused(path)) and SIGN_CONVENTION in text


@pytest.mark.parametrize(
    ("key", "value"), [("depth", 4), ("width", 8), ("kernel_size", 5), ("padding", "zeros")]
)
def test_other_architecture(path: Path, key: str, value: object):
    with pytest.raises(CaseError) as error:
        load_model(path, SETTINGS.model_copy(update={key: value}))
    assert f"network.{key} = {value!r}" in str(error.value)
    assert repr(getattr(SETTINGS, key)) in str(error.value) and "\n" not in str(error.value)


def test_other_coarse_grid_is_not_another_architecture(path: Path):
    assert str(load_model(path, SETTINGS.model_copy(update={"n": 64})).key) == "l02"


def test_foreign_safetensors_file(tmp_path: Path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "w.safetensors")
    assert "not a model of this program" in refused(tmp_path / "w.safetensors")


def changed_normalisation(**changes: object) -> str:
    return json.dumps({**NORMALISATION.model_dump(mode="json"), **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"normalisation": "{}"}, "normalisation.name: Field required"),
        ({"network": "not json"}, "Invalid JSON"),
        ({"network": '{"kind": "cnm"}'}, "network"),
        ({"key": None}, "key: Field required"),
        ({"resolved": None}, "resolved: Field required"),
        ({"key": '"l02,sampels=3"'}, "did you mean samples?"),
        ({"key": '"l03+l02"'}, "'l03+l02' is written 'l02+l03'"),
        ({"resolved": RECORD.resolved.model_copy(update={"base": ""})}, "base model's digest"),
        ({"channels": '{"inputs": ["omega", "psi"], "outputs": ["pi"]}'}, "psi, omega -> pi"),
        ({"channels": '{"inputs": ["psi", "omega"], "outputs": []}'}, "channels"),
        ({"normalisation": changed_normalisation(std={**ZERO, "pi": 1.0})}, "is 0.0, not above 0"),
        ({"normalisation": changed_normalisation(std={**ZERO, "psi": "1"})}, "std.psi"),
        ({"normalisation": changed_normalisation(std={"psi": 1.0})}, "means are of"),
        (
            {"normalisation": changed_normalisation(std={"psi": 1.0}, mean={"psi": 0.0})},
            "normalisation is of psi",
        ),
        ({"grid": '{"n": 16}'}, "grid.filter_width"),
        ({"extra": "1"}, "extra"),
    ],
)
def test_metadata_that_makes_no_sense(path: Path, changes: dict[str, Any], words: str):
    texts = {
        k: v if v is None or isinstance(v, str) else v.model_dump_json() for k, v in changes.items()
    }
    rewrite(path, **texts)
    text = refused(path)
    assert "not a usable model" in text and words in text


L02 = weights_of(network())["l02.weight"]


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (np.full_like(L02, np.nan), "'l02.weight' are not finite"),
        (np.where(L02.max() == L02, np.inf, L02).astype(np.float32), "not finite"),
        (L02.astype(np.float16), "are float16"),
        (L02.astype(np.int32), "are int32"),
        (L02.astype(np.float64), "are float64"),
        (L02[:3], "have shape (3, 4, 3, 3), but its network needs (4, 4, 3, 3)"),
        (None, "have shape none"),
    ],
)
def test_weights_that_are_not_the_networks(path: Path, weight: np.ndarray | None, words: str):
    reweigh(path, l02_weight=weight)
    assert words in refused(path)


def test_weights_too_many(path: Path):
    reweigh(path, l04_weight=L02)
    assert "'l04.weight' have shape (4, 4, 3, 3), but its network needs none" in refused(path)


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path):
    weights = {**weights_of(network()), "l02.weight": np.full_like(L02, np.nan)}
    with pytest.raises(CaseError, match="not finite"):
        write_model(tmp_path / "l02.safetensors", RECORD, weights)
    assert not list(tmp_path.iterdir())


def test_same_model_gives_same_bytes(path: Path, tmp_path: Path):
    save_model(tmp_path / "again.safetensors", Model(network(), RECORD))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert read_model(path).digest == read_model(tmp_path / "again.safetensors").digest


def test_normalisation_as_an_artefact(tmp_path: Path):
    path = tmp_path / "normalisation/target.json"
    write_normalisation(path, NORMALISATION, "ab" * 32)
    assert read_normalisation(path) == NORMALISATION
    before = path.read_bytes()
    write_normalisation(path, NORMALISATION, "ab" * 32)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such normalisation"),
        ("", "not a usable normalisation"),
        ("null", "not a file of format"),
        ("[]", "not a file of format"),
        ("{}", "not a file of format"),
        ("[" * 10000, "not a usable normalisation"),
        ("\xff", "not a usable normalisation"),
        ("0.1 -> 0.2", "SHA-256"),
    ],
)
def test_normalisation_files_that_are_refused(tmp_path: Path, content: str | None, words: str):
    path = tmp_path / "target.json"
    write_normalisation(path, NORMALISATION, "ab" * 32)
    if content is None:
        path.unlink()
    elif "->" in content:
        old, new = content.split(" -> ")
        path.write_text(path.read_text().replace(old, new))
    else:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CaseError, match=words) as error:
        read_normalisation(path)
    assert "\n" not in str(error.value)
