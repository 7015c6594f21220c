"""A whole study, on any number of ranks: shared, skipped, failing in part, stopped."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from eddyscope.__main__ import output_folder, parse
from eddyscope.artefacts.study import read_table
from eddyscope.parallel.failure import StoppedEarly
from eddyscope.parallel.world import World
from eddyscope.stages import study
from small_study import FEW, ONE, write_study

pytestmark = pytest.mark.mpi

Everywhere = Callable[[bool, str], None]

SOON = """
extends = "forward.toml"
name = "soon"
[time]
dt = 0.02
[target.flow]
reynolds = 1e9
initial = {kind = "random", peak = 7.0, energy = 1e9}
"""
"""A case whose target blows up."""


def asked(path: Path, *words: str) -> argparse.Namespace:
    return parse(["study", str(path), "--out", str(path.parent / "out"), *words])


def times(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}


def test_a_study_is_done_once(world: World, shared_tmp_path: Path, everywhere: Everywhere):
    path = shared_tmp_path / "study.toml"
    world.on_root(lambda: write_study(shared_tmp_path, FEW))
    everywhere(study.run(asked(path), output_folder, world) == 0, "status")
    out = shared_tmp_path / "out"
    counts = [len(list(out.glob(p))) for p in ("systems/*", "models/*", "cells/*/*/cell.json")]
    everywhere(counts == [2, 2, 2], f"{counts}")
    table = read_table(out / "study.csv")
    everywhere(len(set(table.column("cell"))) == 2, "cells")
    everywhere((out / "study.html").exists(), "page")
    before = times(out)
    world.comm.Barrier()
    everywhere(study.run(asked(path, "--resume"), output_folder, world) == 0, "again")
    everywhere(times(out) == before, "something was made again")


def test_what_fails_does_not_end_the_rest(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    text = 'name = "x"\ncases = ["soon.toml", "forward.toml"]\n'
    path = shared_tmp_path / "study.toml"
    world.on_root(lambda: write_study(shared_tmp_path, text, soon=SOON))
    status = study.run(asked(path), output_folder, world)
    everywhere(status == 3, f"status {status}")
    table = read_table(shared_tmp_path / "out" / "study.csv")
    everywhere(set(table.column("case")) == {"forward"}, "the sound case is not there")


def test_it_stops_when_it_is_asked_to_and_goes_on(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    path, out = shared_tmp_path / "study.toml", shared_tmp_path / "out"
    world.on_root(lambda: write_study(shared_tmp_path, ONE))
    for kind in ("dns", "train"):
        everywhere(study.run(asked(path, "--do", kind), output_folder, world) == 0, kind)
    world.on_root(lambda: (out / "STOP").touch())
    with pytest.raises(StoppedEarly) as told:
        study.run(asked(path, "--do", "cells"), output_folder, world)
    everywhere(str(told.value).count("call again to go on") == 1, str(told.value))
    everywhere(not (out / "STOP").exists(), "the file is still there")
    everywhere(not list(out.glob("cells/*/*/cell.json")), "it went on")
    for part in ("1/2", "2/2"):
        words = ["--do", "cells", "--part", part]
        everywhere(study.run(asked(path, *words), output_folder, world) == 0, part)
        cells = set(read_table(out / "study.csv").column("cell"))
        everywhere(len(cells) == 1, "the first cell is told of, its tables are young at the second")
        everywhere("1 of 2 cells are" in (out / "study.html").read_text(), "page")
    everywhere(study.run(asked(path, "--do", "tables"), output_folder, world) == 0, "tables")
    table = read_table(out / "study.csv")
    everywhere(len(set(table.column("cell"))) == 2, "cells")
    everywhere(set(table.column("transfer.samples")) == {"1", "2"}, "samples")
