"""An import on ranks gives the bytes of one on one rank, and what another code computed."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

import imports
from eddyscope.__main__ import parse
from eddyscope.artefacts.dataset.importer import fill as filling
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite, known_to_all
from eddyscope.parallel.world import World
from eddyscope.stages import importing
from eddyscope.storage import disk
from eddyscope.storage.atomic import cannot_write
from imports import DIMS
from small_flows import relative

LIMIT = 1e-10
"""Relative L2 distance that is promised."""

SOLUTIONS = ("forced_re20k_kf4_n128", "decaying_re5k_n128")


def import_on(world: World, words: list[str]) -> None:
    """What the command line does, on these ranks. Collective over them."""
    importing.run(parse(words), words, world)


@pytest.mark.mpi
@pytest.mark.parametrize("members", [1, 2, 3, 6])
@pytest.mark.parametrize("full", [False, True], ids=["filtered", "full"])
def test_ranks_do_not_change_a_byte(world, shared_tmp_path, everywhere, members, full):
    """Fewer members than ranks, and more."""
    out = shared_tmp_path / "out.h5"
    if world.is_root:
        given = imports.arrays(members)
        options = imports.save(shared_tmp_path, {k: given[k] for k in ("psi", "pi")})
        omega = [[imports.vorticity(16, m, s) for s in range(3)] for m in range(members)]
        np.save(shared_tmp_path / "full.npy", np.array(omega))
        if full:
            options = ["--omega-full", str(shared_tmp_path / "full.npy"), "--n", "8,12"]
        words = ["import", str(out), *options, *DIMS]
        import_on(World.single(), words)
        alone = out.read_bytes()
        out.unlink()
    else:
        words, alone = [], b""
    words, alone = world.comm.bcast((words, alone))
    import_on(world, words)
    everywhere(out.read_bytes() == alone, "other bytes than one rank's")
    everywhere(Dataset(out).complete, "not complete")
    left = {path.name for path in shared_tmp_path.iterdir()} - {"psi.npy", "pi.npy", "full.npy"}
    everywhere(left == {"out.h5"}, str(left))


@pytest.mark.mpi
@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_exact_term_is_that_of_another_code(
    world, shared_tmp_path, everywhere, reference_solutions: Path, name
):
    stored = np.load(reference_solutions / f"{name}.npz")
    facts = json.loads((reference_solutions / f"{name}.json").read_text())
    n, out = facts["n_coarse"], shared_tmp_path / "out.h5"
    words = ["import", str(out), "--omega-full", f"{reference_solutions / name}.npz:omega_final"]
    import_on(world, [*words, "--n", str(n), "--width", "2", "--precision", "float64"])
    dataset = Dataset(out)
    for ours, theirs in {"psi": "psi_filtered", "omega": "omega_filtered", "pi": "pi"}.items():
        distance = relative(dataset.read(n, ours)[0, 0, 0], stored[theirs])
        everywhere(distance < LIMIT, f"{ours} is {distance:.1e} away")


@pytest.mark.mpi
def test_a_full_disk_is_told_in_the_words_of_an_import(
    world, shared_tmp_path, everywhere, monkeypatch
):
    """Which has no --out, and keeps nothing to go on from."""
    out = shared_tmp_path / "out.h5"
    words: list[str] = []
    if world.is_root:
        options = imports.save(shared_tmp_path, imports.arrays(2))
        words = ["import", str(out), *options, *DIMS]
    words = world.comm.bcast(words)

    def full(path: Path, *_: object) -> None:
        error = cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))
        raise known_to_all(world.comm, error)

    def told() -> str:
        try:
            import_on(world, words)
        except (CannotWrite, CaseError) as error:
            return str(error)
        return ""

    with monkeypatch.context() as patched:
        patched.setattr(filling, "_fill", full)
        said = told()
    everywhere("No space left on device" in said and "import again" in said, said)
    everywhere("--out" not in said, said)
    with monkeypatch.context() as patched:
        patched.setattr(disk, "free_space", lambda folder: 0)
        said = told()
    everywhere("MiB are free" in said and "name a file on another disk" in said, said)
    everywhere("--out" not in said, said)
    everywhere(not list(shared_tmp_path.glob("*.h5*")), "something is left")
