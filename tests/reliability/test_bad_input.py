"""Whatever is wrong with the input: one line, exit status 2, and nothing overwritten."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest

import synthetic
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from synthetic_models import write_models

FORCED = "base.flow.forcing={kind='deterministic', wavenumber=16}"


def initial(path: str) -> str:
    return f"base.flow.initial={{kind='file', path='{path}'}}"


# --- Damage --------------------------------------------------------------------------------


def cut_short(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def replaced(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def appended(name: str, text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_text(path.read_text() + text)

    return damage


def field_saved(omega: np.ndarray, name: str = "omega.npy") -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, omega)


def hdf5_field(folder: Path) -> None:
    with h5py.File(folder / "omega.h5", "w") as file:
        file["vorticity"] = np.zeros((32, 32))


def hdf5_field_cut_short(folder: Path) -> None:
    hdf5_field(folder)
    cut_short("omega.h5")(folder)


def flipped_weight(folder: Path) -> None:
    path = folder / "out/models/base.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x40
    path.write_bytes(content)


def with_attribute(key: str, value: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with synthetic.edited(folder / "out/base/dataset.h5") as file:
            file.attrs[key] = value

    return damage


def uncommitted(folder: Path) -> None:
    with synthetic.edited(folder / "out/base/dataset.h5") as file:
        file["n016/committed"][0, 1] = 0


def not_ours(folder: Path) -> None:
    with h5py.File(folder / "out/base/dataset.h5", "w") as file:
        file["data"] = np.zeros(3)


def without_target(folder: Path) -> None:
    path = folder / "synthetic.toml"
    text = path.read_text()
    start, end = text.index("[target.flow]"), text.index("[network]")
    path.write_text(text[:start] + text[end:])


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def circle(folder: Path) -> None:
    (folder / "synthetic.toml").write_text('extends = "other.toml"\n')
    (folder / "other.toml").write_text('extends = "synthetic.toml"\n')


def fifo(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return damage


def folder_instead(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return damage


def extending(parent: str) -> Callable[[Path], None]:
    return starting(f'extends = "{parent}"')


def starting(line: str) -> Callable[[Path], None]:
    """A line put before the case file's others."""

    def damage(folder: Path) -> None:
        path = folder / "synthetic.toml"
        path.write_text(f"{line}\n{path.read_text()}")

    return damage


def chain(folder: Path) -> None:
    """1500 files, each of which extends the next."""
    extending("f0.toml")(folder)
    for i in range(1500):
        (folder / f"f{i}.toml").write_text(f'extends = "f{i + 1}.toml"\n')


# --- The table -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """A way to call the program, and words that its answer must have."""

    words: list[str]
    arguments: list[str] = field(default_factory=list)
    """After the case file."""
    stage: str = "dns"
    damage: Callable[[Path], None] = lambda folder: None
    """What is done to the folder of the case before."""
    out: str = "out"
    case: str = "synthetic.toml"
    raw: list[str] | None = None
    """The whole command line instead."""
    also: list[str] = field(default_factory=list)
    """Words of the further lines, one a line, where several things are wrong."""


SAVED = initial("omega.npy")
GO_ON = "target.flow.initial={kind='dataset',path='out/base/dataset.h5',n=16}"

TABLE: dict[str, Bad] = {
    # the command line
    "no stage": Bad(["STAGE", "--help"], raw=[]),
    "misspelt stage": Bad(["'dnss'", "did you mean dns?"], stage="dnss"),
    "no case file named": Bad(["CASE.toml"], raw=["dns"]),
    "unknown option": Bad(["--frsh"], ["--frsh"]),
    "resume and fresh": Bad(["--fresh", "--resume"], ["--resume", "--fresh"]),
    "unknown system": Bad(["'third'", "base", "target"], ["--system", "third"]),
    "override without a value": Bad(["'grid.n'", "section.key=value"], ["grid.n"]),
    "override into a value": Bad(["seed is a value"], ["seed.n=3"]),
    "nothing to resume": Bad(["nothing to resume", "--resume"], ["--resume"], out="elsewhere"),
    "out is a file": Bad(["cannot write here", "--out"], out="synthetic.toml"),
    "out with a long name": Bad(["cannot write here", "too long", "--out"], out="x" * 300),
    "out below a long name": Bad(["too long", "--out"], ["--dry-run"], out=f"new/{'x' * 300}/y"),
    "out of a long path": Bad(["too long"], out="/".join(["x" * 200] * 25)),
    "out with a NUL": Bad(["not UTF-8 text"], out="a\0b"),
    "out of other bytes": Bad(["not UTF-8 text"], ["--out", "a\udcff"]),
    "out is empty": Bad(["--out", "empty"], ["--out", ""]),
    "out is a file, tried dry": Bad(["not a folder"], ["--dry-run"], out="synthetic.toml"),
    "out is a device": Bad(["cannot write here"], out="/dev/null"),
    "misspelt option": Bad(["--freesh", "did you mean --fresh?"], ["--freesh"]),
    "out is under a file": Bad(["cannot write here", "--out"], out="synthetic.toml/deeper"),
    # the case file
    "missing case file": Bad(["no such case file"], case="gone.toml"),
    "case is a folder": Bad(["cannot be read"], case="."),
    "case is not text": Bad(
        ["not UTF-8"], damage=replaced("synthetic.toml", b"name = '\xff\xfe'\n")
    ),
    "TOML syntax error": Bad(["not valid TOML", "line"], damage=appended("synthetic.toml", "[a\n")),
    "extends what is missing": Bad(
        ["gone.toml", "no such case file"],
        damage=replaced("synthetic.toml", b'extends = "gone.toml"\n'),
    ),
    "extends in a circle": Bad(["circle", "synthetic.toml -> other.toml"], damage=circle),
    "case is a pipe": Bad(["pipe or a device"], damage=fifo("synthetic.toml")),
    "case is a device": Bad(["pipe or a device"], case="/dev/zero"),
    "case with a NUL": Bad(["not UTF-8 text"], case="a\0b.toml"),
    "case with a long name": Bad(["too long"], case="x" * 300),
    "case is huge": Bad(["bytes", "more than"], damage=appended("synthetic.toml", "#" * 2**20)),
    "case is empty": Bad(
        ["holds no settings", "eddyscope example"], damage=replaced("synthetic.toml", b"\n# none\n")
    ),
    "case is half a byte-order mark": Bad(
        ["not UTF-8"], damage=replaced("synthetic.toml", b"\xff\xfen\0")
    ),
    "deeply nested lists": Bad(["nested", "deep"], damage=starting(f"a={'[' * 5000}{']' * 5000}")),
    "nested lists": Bad(["nested"], damage=starting(f"a={'[' * 50}{']' * 50}")),
    "deeply nested tables": Bad(["nested"], damage=starting(f"a={'{b=' * 5000}1{'}' * 5000}")),
    "deeply dotted key": Bad(["nested"], damage=starting("a." * 3000 + "b = 1")),
    "deeply nested override": Bad(["nested"], [f"grid.n={'[' * 5000}{']' * 5000}"]),
    "deeply dotted override": Bad(["nested"], ["a." * 3000 + "b=1"]),
    "number of 5000 digits": Bad(["not valid TOML"], damage=starting(f"a = {'9' * 5000}")),
    "number of 401 digits": Bad(["grid.n", "64 bits"], [f"grid.n=1{'0' * 400}"]),
    "number of 5000 digits in an override": Bad(["digits"], [f"grid.n={'9' * 5000}"]),
    "number of 5000 hexadecimal digits": Bad(["64 bits"], [f"grid.n=0x{'f' * 5000}"]),
    "n of a million": Bad(["grid.n = 1048576", "131072"], ["grid.n=1048576"]),
    "n of a billion": Bad(["grid.n", "131072"], ["grid.n=1000000000000"]),
    "real number next to zero": Bad(["time.dt = 5e-324", "close to zero"], ["time.dt=5e-324"]),
    "real number that overflows": Bad(["beta = -1e+300", "at most"], ["base.flow.beta=-1e300"]),
    "network wider than any": Bad(["network.width"], ["network.width=1000000000000"]),
    "memory with its unit": Bad(
        ["training.memory = '8GiB'", "number, in GiB", "leave it out for the default"],
        ["training.memory=8GiB"],
    ),
    "less memory than none": Bad(
        ["training.memory = -1", "or equal to 0, in GiB"], ["training.memory=-1"]
    ),
    "repeats without end": Bad(["transfer.seeds"], ["transfer.seeds=1000000"]),
    "rank beyond any matrix": Bad(
        ["transfer.controls.0.rank = 1000000000000", "65536"],
        ["transfer.controls=[{kind='lora', rank=1000000000000}]"],
    ),
    "best of no single layers": Bad(
        ["best single layer", "transfer.layers"],
        ["--dry-run", "transfer.layers=['l01+l02']", "les.closures=['best']", "les.dt=0.01"],
        stage="les",
    ),
    "layer zero": Bad(["'l00'", "l01"], ["--dry-run", "transfer.layers=['l00']"]),
    "kernels wider than the grid": Bad(
        ["network.kernel_size = 17", "16"], ["--dry-run", "network.kernel_size=17"]
    ),
    "real number too large": Bad(["time.dt", "finite"], ["time.dt=1e999"]),
    "text of a million letters": Bad(["time.scheme"], [f"time.scheme={'x' * 1000000}"]),
    "extends a long chain": Bad(["more than 20 files"], damage=chain),
    "extends itself": Bad(["circle"], damage=extending("synthetic.toml")),
    "extends itself by another way": Bad(["circle"], damage=extending("out/../synthetic.toml")),
    "extends a folder": Bad(["it is a folder"], damage=extending("out")),
    "extends nothing": Bad(["it is a folder"], damage=extending("")),
    "extends a NUL": Bad(["NUL"], damage=extending("a\\u0000b")),
    "extends an absolute path": Bad(["/gone.toml", "no such"], damage=extending("/gone.toml")),
    "extends a list": Bad(["extends = ['a']"], damage=starting("extends = ['a']")),
    "long name": Bad(["name", "at most 100"], ["name=" + "x" * 300]),
    "name of dots": Bad(["letter or digit"], ["name=.."]),
    "name with a NUL": Bad(["NUL"], ["name='a\\u0000b'".replace("'", '"')]),
    "override of nothing": Bad(["section.key=value"], ["=3"]),
    "override with an empty key": Bad(["section.key=value"], ["grid..n=3"]),
    "override of dots": Bad(["section.key=value"], ["...=1"]),
    "override with a space for a key": Bad(["section.key=value"], ["grid. =1"]),
    "override of another alphabet": Bad(["grid.ñ", "dealias"], ["grid.ñ=1"]),
    "override of two lines": Bad(["more than one value"], ["grid.n=32\nseed=1"]),
    "override in other bytes": Bad(["not UTF-8 text"], ["name=\udcff"]),
    "extends a number": Bad(["extends = 3"], damage=replaced("synthetic.toml", b"extends = 3\n")),
    "misspelt key": Bad(["grid.nn", "did you mean n?", "dealias"], ["grid.nn=32"]),
    "misspelt section": Bad(["gird", "did you mean grid"], ["gird.n=32"]),
    "missing section": Bad(
        ["grid is missing"],
        damage=replaced("synthetic.toml", b'name = "a"\n'),
        also=["time is missing"],
    ),
    "several faults": Bad(
        ["grid.nn is not a setting"],
        ["time.dt=small", "grid.nn=3", "seed=-1", "filter.n=16", "name='a/b'"],
        also=["name = 'a/b'", "seed = -1", "time.dt = 'small'", "filter.n = [16]"],
    ),
    "more faults than are told": Bad(
        ["a is not a setting"],
        [f"{letter}.n=1" for letter in "abcdefghijklm"],
        also=["  also: "] * 10 + ["and 2 more"],
    ),
    "faults of sections that do not fit": Bad(
        ["filter.n = 64", "grid.n = 32"],
        ["filter.n=[64]", "transfer.layers=['l09']"],
        also=["'l09'"],
    ),
    "several values that no setting has": Bad(
        ["seed: a whole number of more than 64 bits"],
        ["time.dt=5e-324", f"seed=1{'0' * 30}"],
        also=["time.dt = 5e-324"],
    ),
    "text for a number in an override": Bad(
        ["command line: grid.n = 'abc'", "integer"], ["grid.n=abc"]
    ),
    "fault in the file that is extended": Bad(
        ["other.toml: grid.nn is not a setting"],
        damage=lambda folder: (
            extending("other.toml")(folder),
            (folder / "other.toml").write_text("[grid]\nnn = 3\n"),
        )[0],
    ),
    "number for a list": Bad(["filter.n = 16", "write filter.n = [16]"], ["filter.n=16"]),
    "text for a list of numbers": Bad(["filter.n = 'x'", "must be a list"], ["filter.n=x"]),
    "name for a list of choices": Bad(
        ["les.closures = 'none'", 'write les.closures = ["none"]'], ["les.closures=none"]
    ),
    "table for a list of choices": Bad(
        ['write les.closures = [{kind = "none"}]'], ["les.closures={kind='none'}"]
    ),
    "name for a list of names": Bad(
        ["transfer.layers = 'l02'", '"each"', 'write transfer.layers = ["l02"]'],
        ["transfer.layers=l02"],
    ),
    "name for a list of names in a table of a list": Bad(
        ["transfer.controls.0.layers = 'l02'", 'write transfer.controls.0.layers = ["l02"]'],
        ["transfer.controls=[{kind='lora', layers='l02'}]"],
    ),
    "number in a list of names": Bad(
        ["transfer.layers.1 = 3", "string"], ["transfer.layers=['l02', 3]"]
    ),
    "word for a mesh": Bad(
        ["transform.mesh = 'auto2'", "list", "did you mean auto?"], ["transform.mesh=auto2"]
    ),
    "number for a section": Bad(
        ["les = 1", "is a section", "[les] allows: closures, dt"], ["les=1"]
    ),
    "list of tables for a section": Bad(["grid = [", "is a section"], ["grid=[{n = 32}]"]),
    "number for a choice": Bad(["network = 3", 'kind = "cnn", "unet" or "user"'], ["network=3"]),
    "number in a list of choices": Bad(
        ["les.closures.0 = 3", 'kind = "none" or "learned"'], ["les.closures=[3]"]
    ),
    "table without a kind": Bad(
        ["base.flow.initial.kind is missing", '"file"'], ["base.flow.initial={path='x'}"]
    ),
    "empty list of choices": Bad(
        ["les.closures = []", "is empty", "at least 1"], ["les.closures=[]"]
    ),
    "name with a space": Bad(["name = 'a b'", "letters, digits"], ["name='a b'"]),
    "empty name": Bad(["name = ''", "letters, digits"], ["name="]),
    "settings of another kind": Bad(
        ["synthetic.toml: network.depth", "kind 'unet'", "of cnn", 'its kind there: kind = "cnn"'],
        ["network.kind=unet"],
    ),
    "name that would drop settings": Bad(
        ["network=unet", "would drop", "depth, width", "network={kind='unet'}"], ["network=unet"]
    ),
    "bool for a number": Bad(["grid.n = True", "integer"], ["grid.n=true"]),
    "string for a number": Bad(["time.dt = 'small'", "number"], ["time.dt=small"]),
    "real for a whole number": Bad(["grid.n = 32.5", "integer"], ["grid.n=32.5"]),
    "number for a name": Bad(["name = 3", "string"], ["name=3"]),
    "NaN": Bad(["time.dt = nan", "finite"], ["time.dt=nan"]),
    "name with a slash": Bad(["name = 'a/b'"], ["name='a/b'"]),
    "negative seed": Bad(["seed = -1", "greater than or equal to 0"], ["seed=-1"]),
    # the flow and its ensemble
    "negative Reynolds number": Bad(
        ["base.flow.reynolds = -1", "greater than 0"], ["base.flow.reynolds=-1"]
    ),
    "odd n": Bad(["grid.n = 33", "use 32 or 34"], ["grid.n=33"]),
    "no time step": Bad(["time.dt = 0", "greater than 0"], ["time.dt=0.0"]),
    "two kinds of time step": Bad(["either dt", "or cfl"], ["time.cfl=0.5", "time.dt=0.01"]),
    "unknown scheme": Bad(["'rk4'", "ab2cn", "ifrk3"], ["time.scheme=rk4"]),
    "unknown forcing": Bad(["'random'", "deterministic"], ["base.flow.forcing={kind='random'}"]),
    "unknown flow": Bad(["base.flow", "'euler'", "navier_stokes"], ["base.flow.kind=euler"]),
    "forcing not resolved": Bad(["wavenumber = 16", "up to 15", "larger n"], [FORCED]),
    "no samples": Bad(
        ["base.ensemble.samples = 0", "greater than or equal to 1"], ["base.ensemble.samples=0"]
    ),
    "interval between steps": Bad(
        ["base.ensemble.interval = 0.125", "0.12 or 0.13"], ["base.ensemble.interval=0.125"]
    ),
    "interval below a step": Bad(["base.ensemble.interval"], ["base.ensemble.interval=1e-9"]),
    "negative spin-up": Bad(["base.ensemble.spin_up = -1"], ["base.ensemble.spin_up=-1.0"]),
    "split that does not sum": Bad(
        ["split has 3 members", "members = 4"],
        ["base.ensemble.split={train=1, validation=1, test=1}"],
    ),
    "no such system": Bad(
        ["[target]", "[target.flow]"], ["--system", "target"], damage=without_target
    ),
    "filter finer than the grid": Bad(["filter.n = 64", "grid.n = 32"], ["filter.n=[64]"]),
    "odd filter grid": Bad(["n = 15", "even"], ["filter.n=[15]"]),
    "no filter grid": Bad(["filter.n"], ["filter.n=[]"]),
    "unknown filter": Bad(["'median'", "gaussian"], ["filter.kind=median"]),
    "one checkpoint only": Bad(["checkpoint.keep = 1"], ["checkpoint.keep=1"]),
    "mesh for other ranks": Bad(["needs 99 ranks", '"auto"'], ["transform.mesh=[9, 11]"]),
    "mesh of one number": Bad(["transform.mesh", "two positive numbers"], ["transform.mesh=[4]"]),
    # initial fields
    "missing initial field": Bad(["omega.npy", "no such initial field"], [SAVED]),
    "initial field with a NUL": Bad(["NUL"], ['base.flow.initial={kind="file", path="a\\u0000"}']),
    "initial field is a pipe": Bad(["pipe"], [SAVED], damage=fifo("omega.npy")),
    "HDF5 initial field is a pipe": Bad(["pipe"], [initial("omega.h5")], damage=fifo("omega.h5")),
    "initial field is a folder": Bad(["it is a folder"], [initial("out")]),
    "missing HDF5 initial field": Bad(["no such initial field"], [initial("omega.h5")]),
    "initial field cut short": Bad(
        ["omega.h5", "not a readable initial field"],
        [initial("omega.h5")],
        damage=hdf5_field_cut_short,
    ),
    "initial field under another name": Bad(
        ["no dataset 'omega'", "vorticity", "initial.dataset"],
        [initial("omega.h5")],
        damage=hdf5_field,
    ),
    "npy cut short": Bad(
        ["not a readable .npy"],
        [SAVED],
        damage=lambda folder: (
            field_saved(np.zeros((32, 32)))(folder),
            cut_short("omega.npy")(folder),
        )[0],
    ),
    "initial field of an odd size": Bad(
        ["shape (31, 31)", "n even"], [SAVED], damage=field_saved(np.zeros((31, 31)))
    ),
    "initial field of no points": Bad(
        ["shape (0, 0)", "not 0"], [SAVED], damage=field_saved(np.zeros((0, 0)))
    ),
    "initial field without members": Bad(
        ["shape (0, 32, 32)"], [SAVED], damage=field_saved(np.zeros((0, 32, 32)))
    ),
    "initial peak between no wavenumbers": Bad(
        ["initial.peak = 0.001", "1 … 15"],
        ["base.flow.initial={kind='random', peak=1e-3, energy=0.5}"],
    ),
    "more memory than the machine has": Bad(
        ["MiB a rank", "grid.n"],
        ["grid.n=131072"],
    ),
    "initial field not square": Bad(
        ["shape (32, 16)"], [SAVED], damage=field_saved(np.zeros((32, 16)))
    ),
    "initial field of whole numbers": Bad(
        ["int64", "floating-point"], [SAVED], damage=field_saved(np.zeros((32, 32), int))
    ),
    "NaN in the initial field": Bad(
        ["1024 non-finite"], [SAVED], damage=field_saved(np.full((32, 32), np.nan))
    ),
    "initial dataset of another sign convention": Bad(
        ["base/dataset.h5", "sign convention is 'other'"],
        [GO_ON, "--system", "target"],
        damage=with_attribute("sign_convention", "other"),
    ),
    "initial dataset without a seal": Bad(
        ["base/dataset.h5", "it has no seal"], [GO_ON, "--system", "target"], damage=not_ours
    ),
    "initial dataset with a sample that is not committed": Bad(
        ["base/dataset.h5", "not committed"],
        [GO_ON.replace("n=16", "n=16,sample=1"), "--system", "target"],
        damage=uncommitted,
    ),
    "initial dataset without that sample": Bad(
        ["initial.sample = 9", "from 0 to 3"],
        [GO_ON.replace("n=16", "n=16,sample=9"), "--system", "target"],
    ),
    "initial dataset without that grid": Bad(
        ["initial.n = 8", "it has 16"], [GO_ON.replace("n=16", "n=8"), "--system", "target"]
    ),
    "initial field with fewer members": Bad(
        ["holds 2 members", "ensemble.members"], [SAVED], damage=field_saved(np.zeros((2, 32, 32)))
    ),
    # datasets
    "no dataset": Bad(
        ["base/dataset.h5", "missing", "first"],
        ["--fresh"],
        "train",
        without("out/base/dataset.h5"),
    ),
    "dataset is a pipe": Bad(["pipe"], ["--fresh"], "train", fifo("out/base/dataset.h5")),
    "dataset is a folder": Bad(
        ["folder"], ["--fresh"], "train", folder_instead("out/base/dataset.h5")
    ),
    "dataset cut short": Bad(
        ["not a readable dataset"], ["--fresh"], "train", cut_short("out/base/dataset.h5")
    ),
    "dataset that is not HDF5": Bad(
        ["not a readable dataset"], ["--fresh"], "train", replaced("out/base/dataset.h5", b"ha")
    ),
    "HDF5 that is no dataset": Bad(["not an eddyscope dataset"], ["--fresh"], "train", not_ours),
    "dataset of another sign convention": Bad(
        ["sign convention is 'mine'"],
        ["--fresh"],
        "train",
        with_attribute("sign_convention", "mine"),
    ),
    "dataset not finished": Bad(
        ["15 of 16 samples", "finish it"], ["--fresh"], "train", uncommitted
    ),
    "dataset without the grid": Bad(
        ["no grid of n = 8", "[16]"], ["filter.n=[8]", "--fresh"], "train"
    ),
    # networks
    "more training samples than there are": Bad(
        ["training.samples = 99"], ["training.samples=99"], "train"
    ),
    "network on an unknown grid": Bad(["network.n = 8", "[16]"], ["network.n=8"], "train"),
    "even kernels": Bad(["kernel_size = 4", "use 3 or 5"], ["network.kernel_size=4"], "train"),
    "models of unknown origin": Bad(["base.safetensors exists", "--fresh"], stage="train"),
    "layer beyond the depth": Bad(["'l09'", "l01 … l03"], ["transfer.layers=['l09']"], "transfer"),
    "misspelt layer": Bad(["'layer2'", "l02"], ["transfer.layers=['layer2']"], "transfer"),
    "misspelt end of the network": Bad(
        ["'fist'", '"first"'], ["transfer.layers=['fist']"], "transfer"
    ),
    "more transfer samples than there are": Bad(
        ["transfer.samples = 99"], ["transfer.samples=99"], "transfer"
    ),
    "more weights than a layer has": Bad(
        ["layers(layers=l02,parameters=99999)", "there are", "set parameters ="],
        ["transfer.controls=[{kind='layers', layers=['l02'], parameters=99999}]", "--fresh"],
        "transfer",
    ),
    "least squares of too many weights": Bad(
        ["'least_squares'", "at most 4096", "transfer.controls"],
        ["transfer.controls=['least_squares']", "network.width=600", "--fresh"],
        "transfer",
    ),
    "more base samples than there are": Bad(
        ["base samples of joint(base_samples=99) = 99", "the base ensemble has"],
        ["transfer.controls=[{kind='joint', base_samples=99}]"],
        "transfer",
    ),
    "no base model": Bad(
        ["base.safetensors", "missing", "first"],
        ["--fresh"],
        "transfer",
        without("out/models/base.safetensors"),
    ),
    "model of another architecture": Bad(
        ["width = 6", "network.width = 7"], ["network.width=7", "--fresh"], "transfer"
    ),
    "model cut short": Bad(
        ["not a readable model"], ["--fresh"], "transfer", cut_short("out/models/base.safetensors")
    ),
    "model is a pipe": Bad(["pipe"], ["--fresh"], "transfer", fifo("out/models/base.safetensors")),
    "model is a folder": Bad(
        ["folder"], ["--fresh"], "transfer", folder_instead("out/models/base.safetensors")
    ),
    "model with a flipped bit": Bad(["damaged"], ["--fresh"], "transfer", flipped_weight),
    # large-eddy simulation, refused before anything is simulated
    "best of no single layer": Bad(
        ['"best"', "transfer.layers"],
        ["transfer.layers=['l01+l02']", "les.closures=['none', 'best']", "--dry-run"],
        "run",
    ),
    "forcing beyond the coarse grid": Bad(
        ["les runs", "n = 16", "wavenumbers up to 7"],
        ["target.flow.forcing={kind='deterministic', wavenumber=9}", "--dry-run"],
        "run",
    ),
    # info
    "info on nothing": Bad(["no such file"], raw=["info", "gone.h5"]),
    "info on a case file": Bad(["not an artefact"], raw=["info", "{folder}/synthetic.toml"]),
}

ON_RANKS = list(TABLE)[::3]
"""Those that are tried on ranks too."""


# --- Trying them ---------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """A case whose datasets and models are there. Not collective."""
    case = synthetic.make_case(folder)
    synthetic.write_datasets(case, folder / "out", World.single())
    write_models(case, folder / "out")


def command(bad: Bad, folder: Path) -> list[str]:
    if bad.raw is not None:
        return [word.format(folder=folder) for word in bad.raw]
    case, out = folder / bad.case, folder / bad.out
    return [bad.stage, str(case), *bad.arguments, "--out", str(out)]


def everything(folder: Path) -> dict[str, str]:
    """Each file's digest, and each folder."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in folder.rglob("*")
    }


def assert_one_line(errors: str, words: list[str], also: Sequence[str] = ()) -> None:
    first, *more = errors.splitlines()
    assert len(more) == len(also), errors
    assert first.startswith("eddyscope: ")
    missing = [word for word in words if word not in first]
    assert not missing, f"{missing} not in: {first}"
    for word, line in zip(also, more, strict=True):
        assert line.startswith("  ") and word in line, f"{word} not in: {line}"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Tests must leave it so; on ranks, each has one of its own."""
    folder: Path = tmp_path_factory.mktemp("template")
    make_folder(folder)
    return folder


@pytest.mark.parametrize("name", list(TABLE))
def test_bad_input(template, tmp_path, capfd, name):
    bad, folder = TABLE[name], tmp_path / "here"
    shutil.copytree(template, folder)
    bad.damage(folder)
    before = everything(folder)
    status = guard(lambda: dispatch(command(bad, folder)))
    said = capfd.readouterr()
    assert_one_line(said.err, bad.words, bad.also)
    assert status == 2
    assert everything(folder) == before


@pytest.mark.mpi
@pytest.mark.parametrize("name", ON_RANKS)
def test_bad_input_on_ranks(world, template, shared_tmp_path, capfd, name):
    bad, folder = TABLE[name], shared_tmp_path / "here"
    if world.is_root:
        shutil.copytree(template, folder)
        bad.damage(folder)
    world.comm.Barrier()
    before = everything(folder)
    world.comm.Barrier()
    status = guard(lambda: dispatch(command(bad, folder)))
    said = world.comm.allgather(capfd.readouterr().err)
    assert world.comm.allgather(status) == [2] * world.size
    assert_one_line("".join(said), bad.words, bad.also)
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("misspelt key", 3),
        ("unknown option", 2),
        ("dataset cut short", 2),
        ("initial dataset without a seal", 3),
    ],
)
def test_bad_input_to_a_real_job(template, tmp_path, launch, name, ranks):
    bad, folder = TABLE[name], tmp_path / "here"
    shutil.copytree(template, folder)
    bad.damage(folder)
    before = everything(folder)
    ended = launch(ranks, [sys.executable, "-m", "eddyscope", *command(bad, folder)], 120)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    ours = [line for line in ended.stderr.splitlines() if line.startswith("eddyscope:")]
    assert_one_line("\n".join(ours), bad.words)
    assert everything(folder) == before


@pytest.mark.parametrize("place", ["status", "status/train.lock"])
def test_a_status_that_cannot_be_kept_stops_the_step(template, tmp_path, capfd, place):
    """Something else stands where the status or its lock belongs: status 1, nothing made."""
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    out = folder / "out"
    shutil.rmtree(out / "models")
    if place == "status":
        (out / place).write_text("")
    else:
        (out / place).mkdir(parents=True)
    assert guard(lambda: dispatch(command(Bad([], stage="train"), folder))) == 1
    assert_one_line(capfd.readouterr().err, [place, "cannot be written"])
    assert not (out / "models").exists()


def test_a_byte_order_mark_is_no_part_of_the_case(template, tmp_path, capfd):
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    path = folder / "synthetic.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    good = Bad([], ["--dry-run", "--fresh"], "train")
    assert guard(lambda: dispatch(command(good, folder))) == 0
    assert capfd.readouterr().err == ""


def test_the_case_itself_is_good(template, tmp_path, capfd):
    """What the table changes is what is wrong."""
    shutil.copytree(template, tmp_path / "here")
    for stage, out in (("dns", "new"), ("train", "out"), ("transfer", "out")):
        good = Bad([], ["--dry-run", "--fresh"], stage, out=out)
        assert guard(lambda good=good: dispatch(command(good, tmp_path / "here"))) == 0
    assert capfd.readouterr().err == ""


PIPES = {
    "report": ["advice.json", "evaluation.json", "advice.h5", "analysis.h5", "status/x.json",
               "base/dataset.h5", "models/base.safetensors", "models/transfer/l02.safetensors",
               "les/none.h5"],
    "train": ["base/dataset.h5", "normalisation/base.json", "status/train.json",
              "models/base.safetensors", "models/base.ckpt"],
    "transfer": ["models/base.safetensors", "models/transfer/l02.safetensors"],
    "evaluate": ["advice.json", "models/transfer/l02.safetensors"],
    "analyze": ["evaluation.json"],
    "les": ["evaluation.json", "status/les.none.lock", "status.json"],
    "dns": ["base/dataset.h5", "base/status.json", "base/status.lock"],
}  # fmt: skip
"""Stage -> files that it may look at."""


IN_TURN = """
import faulthandler, json, sys
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
for words in json.loads(sys.argv[1]):
    print("called:", *words, file=sys.stderr, flush=True)
    faulthandler.dump_traceback_later(100, exit=True)
    status = guard(lambda: dispatch(words))
    if status not in (0, 1, 2):
        sys.exit(f"status {status}")
"""
"""Calls one after the other; one that hangs ends them all, with a stack."""

LITTLE = ["training.epochs=1", "transfer.epochs=1", "transfer.layers=['l02']",
          "les={duration=0.1, interval=0.05, closures=['none', 'best']}"]  # fmt: skip


@pytest.mark.parametrize("stage", list(PIPES))
def test_a_pipe_in_place_of_an_artefact_hangs_nothing(template, tmp_path, launch, stage):
    """In a job of their own, which may be ended."""
    calls = []
    for name in PIPES[stage]:
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(template, folder)
        (folder / "out" / name).parent.mkdir(exist_ok=True)
        fifo(f"out/{name}")(folder)
        case, out = folder / "synthetic.toml", folder / "out"
        calls.append([stage, str(case), *LITTLE, "--out", str(out)])
    ended = launch(1, [sys.executable, "-c", IN_TURN, json.dumps(calls)], 220)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stderr.count("called:") == len(calls)
