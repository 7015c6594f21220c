"""Whatever is wrong with arrays or options: one line, exit status 2, no file, on all ranks."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

import imports
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
from imports import DIMS
from reliability.test_bad_input import assert_one_line, everything

PSI, OMEGA, PI = ("--psi", "{psi.npy}"), ("--omega", "{omega.npy}"), ("--pi", "{pi.npy}")
FULL = ("--omega-full", "{pi.npy}", *DIMS, "--n", "8")


@dataclass(frozen=True)
class Bad:
    words: Sequence[str]
    """What the line must say."""
    arguments: Sequence[str]
    """{name} stands for a file of that name in the folder."""
    make: Callable[[Path], object] = lambda folder: None
    """Makes further files in the folder."""
    out: str = "out.h5"


def saved(name: str, values: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, values)


def given(**changed: np.ndarray) -> Callable[[Path], object]:
    """Other arrays in place of some of the fields."""
    return lambda folder: imports.save(folder, changed)


def with_nan(fields: dict[str, np.ndarray]) -> np.ndarray:
    values = fields["pi"].copy()
    values[1, 2, 3, :5] = np.nan
    return values


def hdf5(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file["vorticity"] = FIELDS["omega"]
        file["stream"] = FIELDS["psi"]
        file["nothing"] = h5py.Empty("f")


def huge(folder: Path) -> None:
    """A file of some kilobytes that declares more than any disk has."""
    with h5py.File(folder / "huge.h5", "w") as file:
        for name in ("psi", "pi"):
            file.create_dataset(name, (9, 10**6, 10**6, 1000), "f4", chunks=(1, 1, 1000, 1000))


def huge_full(folder: Path) -> None:
    with h5py.File(folder / "huge.h5", "w") as file:
        file.create_dataset("omega", (10**6, 10**6), "f4", chunks=(1000, 1000))


def cut_short(name: str, content: Callable[[Path], object]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        content(folder)
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return make


def pickled(folder: Path) -> None:
    np.save(folder / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def damaged_npz(folder: Path) -> None:
    """An archive whose array is cut short inside."""
    np.savez(folder / "whole.npz", pi=FIELDS["pi"])
    with zipfile.ZipFile(folder / "whole.npz") as whole:
        content = whole.read("pi.npy")
    (folder / "whole.npz").unlink()
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("pi.npy", content[: len(content) // 2])


def times(*values: float) -> Callable[[Path], object]:
    """psi and pi in NetCDF's way, their samples at these times."""

    def make(folder: Path) -> None:
        with h5py.File(folder / "a.h5", "w") as file:
            file["time"] = np.array(values)
            file["time"].make_scale("time")
            for name in ("psi", "pi"):
                file[name] = FIELDS[name][0]
                file[name].dims[0].attach_scale(file["time"])
                for axis, label in enumerate(("time", "y", "x")):
                    file[name].dims[axis].label = label

    return make


FIELDS = imports.arrays()

TABLE: dict[str, Bad] = {
    # what is asked for
    "nothing": Bad(["--psi or --omega or both", "none is given"], []),
    "psi alone": Bad(["--pi or another --field", "given: --psi"], [*PSI, *DIMS]),
    "psi and omega alone": Bad(["nothing to learn", "--omega-full"], [*PSI, *OMEGA, *DIMS]),
    "pi alone": Bad(["give --psi or --omega"], [*PI, *DIMS]),
    "no out": Bad(["OUT.h5", "import --help"], [], out=""),
    "misspelt option": Bad(["'--omga'", "did you mean --omega"], [*PSI, "--omga", "x"]),
    "full and filtered": Bad(["leave --psi out"], [*PSI, *FULL]),
    "full without grids": Bad(["give --n", "32,64"], ["--omega-full", "{pi.npy}", *DIMS]),
    "grids without full": Bad(["--n and --filter are for"], [*PSI, *PI, *DIMS, "--n", "8"]),
    "start without interval": Bad(["--start goes with --interval"], [*PSI, *PI, "--start", "1"]),
    "interval of zero": Bad(["--interval", "greater than 0"], [*PSI, *PI, "--interval", "0"]),
    "interval of words": Bad(["--interval", "'daily'"], [*PSI, *PI, "--interval", "daily"]),
    "length of three": Bad(["--length", "Ly,Lx"], [*PSI, *PI, *DIMS, "--length", "1,2,3"]),
    "length below zero": Bad(["--length", "greater than 0"], [*PSI, *PI, "--length", "-1"]),
    "walls elsewhere": Bad(["--walls", "'z'"], [*PSI, *PI, *DIMS, "--walls", "z"]),
    "scale of nothing": Bad(["no field 'om'", "psi, pi"], [*PSI, *PI, *DIMS, "--scale", "om=2"]),
    "scale of zero": Bad(["NAME=FACTOR"], [*PSI, *PI, *DIMS, "--scale", "psi=0"]),
    "scale of words": Bad(["NAME=FACTOR"], [*PSI, *PI, *DIMS, "--scale", "psi=minus"]),
    "scale twice": Bad(["given twice"], [*PSI, *PI, *DIMS, "--scale", "psi=1", "psi=2"]),
    "field without a name": Bad(["NAME=FILE"], [*PSI, *DIMS, "--field", "{pi.npy}"]),
    "field of a taken name": Bad(
        ["time means something else"], [*PSI, *DIMS, "--field", "time={pi.npy}"]
    ),
    "field twice": Bad(
        ["--field t is given twice"],
        [*PSI, *DIMS, "--field", "t={pi.npy}", "--field", "t={pi.npy}"],
    ),
    # files
    "no such file": Bad(["psi: ", "gone.npy", "no such file"], ["--psi", "{gone.npy}", *PI, *DIMS]),
    "no match": Bad(["no file matches", "gone*"], ["--psi", "{gone*.npy}", *PI, *DIMS]),
    "no such variable": Bad(
        ["no variable 'vorticty'", "did you mean vorticity?", "stream"],
        ["--omega", "{a.h5}:vorticty", *PI, *DIMS],
        hdf5,
    ),
    "which variable": Bad(
        ["which of its variables is omega", "stream, vorticity"],
        ["--omega", "{a.h5}", *PI, *DIMS],
        hdf5,
    ),
    "no variables": Bad(
        ["which of its variables", "none"],
        ["--omega", "{a.h5}", *PI, *DIMS],
        lambda folder: h5py.File(folder / "a.h5", "w").close(),
    ),
    "a folder": Bad(["it is a folder"], ["--psi", "{.}", *PI, *DIMS]),
    "a pipe": Bad(
        ["pipe"], ["--psi", "{a}", *PI, *DIMS], lambda folder: os.mkfifo(folder / "a")
    ),
    "a text": Bad(
        ["a.npy: not a data file", "NetCDF"],
        ["--psi", "{a.npy}", *PI, *DIMS],
        lambda folder: (folder / "a.npy").write_text("psi"),
    ),
    "an empty file": Bad(
        ["not a data file"],
        ["--psi", "{a.npy}", *PI, *DIMS],
        lambda folder: (folder / "a.npy").touch(),
    ),
    "npy cut short": Bad(
        ["a.npy: cannot be read"],
        ["--psi", "{a.npy}", *PI, *DIMS],
        cut_short("a.npy", saved("a.npy", FIELDS["psi"])),
    ),
    "HDF5 cut short": Bad(
        ["a.h5: cannot be read"], ["--omega", "{a.h5}", *PI, *DIMS], cut_short("a.h5", hdf5)
    ),
    "npz damaged inside": Bad(
        ["a.npz: cannot be read"], [*PSI, "--pi", "{a.npz}", *DIMS], damaged_npz
    ),
    "npz cut short": Bad(
        ["a.npz: cannot be read"],
        [*PSI, "--pi", "{a.npz}", *DIMS],
        cut_short("a.npz", lambda folder: np.savez(folder / "a.npz", pi=FIELDS["pi"])),
    ),
    "mat cut short": Bad(
        ["a.mat: cannot be read"],
        [*PSI, "--pi", "{a.mat}", *DIMS],
        cut_short("a.mat", lambda folder: savemat(folder / "a.mat", {"pi": FIELDS["pi"]})),
    ),
    "mat of cells": Bad(
        ["a.mat:pi: holds object"],
        [*PSI, "--pi", "{a.mat}", *DIMS],
        lambda folder: savemat(folder / "a.mat", {"pi": np.full((2, 3, 16, 16), "a", object)}),
    ),
    "mat of complex numbers": Bad(
        ["a.mat:pi: holds complex"],
        [*PSI, "--pi", "{a.mat}", *DIMS],
        lambda folder: savemat(folder / "a.mat", {"pi": 1j * FIELDS["pi"]}),
    ),
    "a pickle": Bad(["a.npy: cannot be read"], ["--psi", "{a.npy}", *PI, *DIMS], pickled),
    # arrays
    "no axes' names": Bad(["does not name the 4 axes", "--dims"], [*PSI, *PI]),
    "too few dims": Bad(["--dims names 3 axes", "has 4"], [*PSI, *PI, "--dims", "sample,y,x"]),
    "unknown dim": Bad(
        ["'latitude' of length 16", "known: member"],
        [*PSI, *PI, "--dims", "member,sample,latitude,x"],
    ),
    "a dim twice": Bad(
        ["two axes are sample: time, sample"], [*PSI, *PI, "--dims", "time,sample,y,x"]
    ),
    "no y": Bad(["no axes y and x"], [*PSI, *PI, "--dims", "member,x"], given(
        psi=np.zeros((2, 8)), pi=np.zeros((2, 8))
    )),
    "one axis": Bad(["shape (8,)", "axes y and x"], [*PSI, *PI], given(psi=np.zeros(8))),
    "a number": Bad(["shape ()"], [*PSI, *PI], given(psi=np.zeros(()))),
    "three axes without names": Bad(
        ["does not name the 3 axes"], [*PSI, *PI], given(psi=np.zeros((3, 8, 8)))
    ),
    "empty": Bad(["is empty", "sample 0"], [*PSI, *PI, *DIMS], given(psi=np.zeros((2, 0, 8, 8)))),
    "other samples": Bad(
        ["psi and pi differ in shape", "sample 2", "sample 3"],
        [*PSI, *PI, *DIMS],
        given(psi=FIELDS["psi"][:, :2]),
    ),
    "other points": Bad(
        ["differ in shape", "x 8"], [*PSI, *PI, *DIMS], given(pi=FIELDS["pi"][..., :8])
    ),
    "files that differ": Bad(
        ["psi: ", "alike in all else", "--join"],
        ["--psi", "{psi.npy}", "{other.npy}", *PI, *DIMS],
        saved("other.npy", FIELDS["psi"][..., :8]),
    ),
    "few points": Bad(
        ["3 x 3 points", "at least 4"],
        [*PSI, *PI],
        given(psi=np.zeros((3, 3)), pi=np.zeros((3, 3))),
    ),
    "complex": Bad(["complex numbers"], [*PSI, *PI, *DIMS], given(psi=FIELDS["psi"] + 1j)),
    "whole numbers": Bad(["holds int64"], [*PSI, *PI, *DIMS], given(pi=FIELDS["pi"].astype(int))),
    "words": Bad(["holds <U1"], [*PSI, *PI], given(psi=np.full((8, 8), "a"))),
    "NaN": Bad(
        ["pi.npy: 5 of the 256 numbers of pi in member 1, sample 2"],
        [*PSI, *PI, *DIMS],
        given(pi=with_nan(FIELDS)),
    ),
    "never written": Bad(
        ["pi.npy: 1 of the 256 numbers of pi in member 0, sample 0 are missing"],
        [*PSI, *PI, *DIMS],
        given(pi=np.where(FIELDS["pi"] == FIELDS["pi"][0, 0, 0, 0], 9.969209968386869e36, 1.0)),
    ),
    "too large for float32": Bad(
        ["too large for float32", "--precision float64"],
        [*PSI, *PI, *DIMS],
        given(pi=FIELDS["pi"] * 1e300),
    ),
    "no times": Bad(
        ["3 samples taken", "--interval"], [*PSI, *PI, "--dims", "member,sample,y,x"]
    ),
    "times that fall": Bad(
        ["times of the samples do not increase", "--interval"],
        ["--psi", "{a.h5}:psi", "--pi", "{a.h5}:pi"],
        times(0.0, 2.0, 1.0),
    ),
    "other sign": Bad(
        ["psi has the other sign", "--scale psi=-1"],
        [*PSI, *OMEGA, *PI, *DIMS],
        given(psi=-FIELDS["psi"]),
    ),
    "more than any disk": Bad(
        ["import will write", "MiB are free"],
        ["--psi", "{huge.h5}:psi", "--pi", "{huge.h5}:pi", *DIMS],
        huge,
    ),
    # full resolution
    "full of layers": Bad(
        ["has 2 layers"], [*FULL, "--dims", "layer,sample,y,x"]
    ),
    "full with walls": Bad(["with walls"], [*FULL, "--walls", "y"]),
    "full not square": Bad(
        ["16 x 8 points", "square"], FULL, given(pi=FIELDS["pi"][..., :8])
    ),
    "full in an oblong box": Bad(["on 3 x 4", "square"], [*FULL, "--length", "3,4"]),
    "full of odd points": Bad(["15 x 15"], FULL, given(pi=FIELDS["pi"][..., :15, :15])),
    "finer than the field": Bad(["--n 32 is finer", "at most 16"], [*FULL, "--n", "32"]),
    "full with a mean": Bad(
        ["member 0, sample 0, the mean is 1", "subtract"], FULL, given(pi=FIELDS["pi"] + 1.0)
    ),
    "odd grid": Bad(["--n = [9]", "even"], [*FULL, "--n", "9"]),
    "a grid twice": Bad(["--n = [8, 8]: names a coarse grid twice"], [*FULL, "--n", "8,8"]),
    "grid of words": Bad(["--n", "whole numbers"], [*FULL, "--n", "fine"]),
    "unknown filter": Bad(["'gausian'", "did you mean gaussian"], [*FULL, "--filter", "gausian"]),
    "more than any memory": Bad(
        ["import needs", "MiB a rank"],
        ["--omega-full", "{huge.h5}", "--dims", "y,x", "--n", "8"],
        huge_full,
    ),
    # out
    "out is there": Bad(["pi.npy exists", "overwrites nothing"], [*PSI, *PI, *DIMS], out="pi.npy"),
    "out in a file": Bad(["psi.npy is no folder"], [*PSI, *PI, *DIMS], out="psi.npy/out.h5"),
    "out in no folder": Bad(["away is no folder"], [*PSI, *PI, *DIMS], out="away/out.h5"),
    "out of no name": Bad(["name is empty"], [*PSI, *PI, *DIMS], out="."),
}  # fmt: skip

ON_RANKS = [*list(TABLE)[::4], "NaN", "other sign", "too large for float32"]
"""Those that are tried on ranks too; among them what a rank alone finds."""


def command(bad: Bad, folder: Path) -> list[str]:
    words = [word.replace("{", f"{folder}/").replace("}", "") for word in bad.arguments]
    out = [str(folder / bad.out)] if bad.out != "." else ["."]
    return ["import", *(out if bad.out else []), *words]


def make(bad: Bad, folder: Path) -> None:
    imports.save(folder, FIELDS)
    bad.make(folder)


@pytest.mark.parametrize("name", list(TABLE))
def test_bad_import(tmp_path, capfd, name):
    bad = TABLE[name]
    make(bad, tmp_path)
    before = everything(tmp_path)
    status = guard(lambda: dispatch(command(bad, tmp_path)))
    assert_one_line(capfd.readouterr().err, list(bad.words))
    assert status == 2
    assert everything(tmp_path) == before


@pytest.mark.mpi
@pytest.mark.parametrize("name", ON_RANKS)
def test_bad_import_on_ranks(world, shared_tmp_path, capfd, everywhere, name):
    bad = TABLE[name]
    if world.is_root:
        make(bad, shared_tmp_path)
    world.comm.Barrier()
    before = everything(shared_tmp_path)
    world.comm.Barrier()
    status = guard(lambda: dispatch(command(bad, shared_tmp_path)))
    world.comm.Barrier()
    everywhere(status == 2, str(status))
    errors = capfd.readouterr().err
    if world.is_root:
        assert_one_line(errors, list(bad.words))
    everywhere(world.is_root or errors == "", errors)
    assert everything(shared_tmp_path) == before
