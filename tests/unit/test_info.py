"""`eddyscope info` on files of every kind, ours and others': a few lines, or one error."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from eddyscope.artefacts.describe import describe
from eddyscope.artefacts.normalisation import Normalisation, write_normalisation
from eddyscope.config.errors import CaseError
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from small_flows import make_transform_on

STATUS = {"step": "train", "state": "running", "exit_status": None, "message": "starting",
          "updated": "today", "sections": {}, "inputs": {}, "segments": [
              {"began": "today", "ranks": 2, "threads": 1, "code_version": "0.1"}]}  # fmt: skip


def said(path: Path) -> str:
    return "\n".join(describe(path))


def huge(path: Path) -> None:
    """Arrays of 8 EiB that take no room: declared, never written."""
    with h5py.File(path, "w") as file:
        for name in ("deep/inside/a", "b"):
            file.create_dataset(name, shape=(2**30, 2**30), chunks=(1, 2**20), dtype="f8")


def circular(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["group/itself"] = file.create_group("group/inner").parent
        file["nowhere"] = h5py.SoftLink("/gone")
        file["outside"] = h5py.ExternalLink("/dev/zero", "/a")


def odd_attributes(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = np.arange(3)
        file.attrs["case_hash"] = h5py.Empty("f8")
        file.attrs["case_name"] = np.zeros((2, 2))


def tensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("make", [huge, circular, odd_attributes])
def test_foreign_hdf5_files_are_described_by_their_headers(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "a.h5")
    assert "kind: " in said(tmp_path / "a.h5")


def test_a_checkpoint_is_known_for_one(tmp_path: Path) -> None:
    transform = make_transform_on(World.single(), 16)
    arrays = {"omega_hat": transform.zeros_spectral()}
    clock = {"step": 12.0, "time": 0.5, "dt": 0.1}
    Checkpoints(tmp_path, CheckpointSettings(), "x", transform).save(clock, arrays)
    words = said(next(tmp_path.glob("*.h5")))
    assert "checkpoint of a simulation at step 12" in words
    assert "t = 0.5" in words


def test_a_status_without_a_program_reads_interrupted(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(STATUS))
    words = said(tmp_path / "train.json")
    assert "state: interrupted" in words
    assert "ranks: 2" in words


@pytest.mark.parametrize("tree", [{}, {"a": 1}, {"format": 3}, {"step": 1, "state": []}])
def test_foreign_json_is_said_to_be_foreign_or_shown(tmp_path: Path, tree: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(tree))
    assert "kind: " in said(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"[]", "not an artefact"),
        ("a.json", b"null", "not an artefact"),
        ("a.json", b"", "not readable as JSON"),
        ("a.json", b"[" * 100_000, "not readable as JSON"),
        ("a.json", b'{"a":' * 100_000, "not readable as JSON"),
        ("a.json", b"\xff\xfe", "not readable as JSON"),
        ("a.json", b'{"ranking": 3, "scores": 1}', "advice"),
        ("a.json", b'{"ranking": [], "scores": {"a": {"ranking": 1}}}', "advice"),
        ("a.json", b'{"models": 3}', "evaluation"),
        ("a.json", b'{"models": {"base": null}}', "evaluation"),
        ("a.json", b'{"step": 1, "state": 2, "sections": 3}', "status"),
        ("a.csv", b"a,b\n1,2\n", "not a table of this program"),
        ("a.csv", b"", "not .* a table"),
        ("a.csv", b"\xff\n", "not readable as a table"),
        ("a.csv", b'"' + b"x" * 200_000, "not readable as a table"),
        ("a.h5", b"", "not an HDF5 file"),
        ("a.safetensors", b"", "not a readable safetensors file"),
        ("a.safetensors", tensors([]), "not a readable safetensors file"),
        ("a.safetensors", tensors({"a": 3}), "not a readable safetensors file"),
        ("a.safetensors", tensors({"__metadata__": 3}), "not a readable safetensors file"),
        ("a.safetensors", struct.pack("<Q", 9000) + b"[" * 9000, "not a readable safetensors"),
        ("a.safetensors", struct.pack("<Q", 2**62), "not a readable safetensors file"),
    ],
)
def test_what_is_none_of_ours_is_one_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CaseError, match=words) as caught:
        describe(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_safetensors_of_other_programs_are_described(tmp_path: Path) -> None:
    header = {
        "w": {"shape": [1], "data_offsets": [0, 4], "dtype": "F32"},
        "__metadata__": {"history": "3", "provenance": "[" * 50, "normalisation": "null"},
    }
    (tmp_path / "a.safetensors").write_bytes(tensors(header, b"abcd"))
    assert "not marked as this program’s" in said(tmp_path / "a.safetensors")


def test_pipes_devices_and_folders_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    for path, words in ((tmp_path / "a.h5", "pipe"), (Path("/dev/zero"), "pipe or a device")):
        with pytest.raises(CaseError, match=words):
            describe(path)
    with pytest.raises(CaseError, match="folder"):
        describe(tmp_path)


def test_a_normalisation_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    values = {name: np.ones((1, 1, 1, 4, 4)) for name in ("psi", "omega", "pi")}
    own = Normalisation.own("base", list(values), lambda: [values])
    write_normalisation(path, own, "ab" * 32)
    assert "base, by statistics of 1 training samples of the base" in said(path)
    path.write_text(path.read_text().replace("ab" * 32, "ab" * 31 + "ac"))
    with pytest.raises(CaseError, match="not a usable normalisation"):
        describe(path)
