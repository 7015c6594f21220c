"""A run that is asked to stop ends with status 4 and a checkpoint, and goes on to the same bits
on another number of ranks. Started as real jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.status import read_status
from eddyscope.parallel.failure import guard
from in_turn import in_turn
from reliability.test_interrupted import descendants, started, wait_for
from small_flows import CASE, assert_same_arrays, points, write_case

LIMIT = 120.0
"""Seconds for one job."""

RING = "base.flow.forcing={kind='ring', wavenumber=3.0, energy_input=0.2}"

RUNS = {
    "ab2cn": ["time.dt=0.0002", "time.scheme='ab2cn'"],
    "ifrk3": ["time.dt=0.0002"],
    "adaptive": ["time.cfl=0.01"],
    "ring": ["time.cfl=0.01", RING],
}
"""Name -> overrides; each takes some thousand steps, so that a request comes between them."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, Path]:
    """One case file a kind of run."""
    folder = tmp_path_factory.mktemp("cases")
    adaptive = CASE.replace("dt = 0.01", "")
    longer = [text.replace("interval = 0.04", "interval = 0.2") for text in (CASE, adaptive)]
    return {
        name: write_case(folder, longer["cfl" in str(overrides)], f"{name}.toml")
        for name, overrides in RUNS.items()
    }


def command(cases: dict[str, Path], name: str, out: Path, *options: str) -> list[str]:
    words = ["dns", str(cases[name]), "--system", "base", "--out", str(out)]
    quiet = "checkpoint.seconds=1e6"  # unless asked to stop, it writes none
    return [sys.executable, "-m", "eddyscope", *words, quiet, *RUNS[name], *options]


@pytest.fixture(scope="module")
def uninterrupted(cases, tmp_path_factory):
    """`uninterrupted(name)`: the dataset of a run that no one disturbed, without checkpoints."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp(name)
            assert guard(lambda: dispatch(command(cases, name, out)[3:])) == 0
            assert not (out / "base" / "checkpoints").exists()
            made[name] = out / "base" / "dataset.h5"
        return made[name]

    return make


def has_recorded(out: Path) -> bool:
    """Whether the run has sampled, and so is in its time loop."""
    path = out / "base" / "dataset.h5"
    return path.exists() and bool(Dataset(path).committed.any())


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """Process ids of a job's ranks."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(process.pid)}
    return [pid for pid, line in lines.items() if b"mpirun" not in line.split(b"\0")[0]]


def stop_file(process: subprocess.Popen[str], out: Path) -> None:
    (out / "base" / "STOP").touch()


def stop_file_of_all(process: subprocess.Popen[str], out: Path) -> None:
    (out / "STOP").touch()


def usr1_to_one_rank(process: subprocess.Popen[str], out: Path) -> None:
    os.kill(ranks_of(process)[-1], signal.SIGUSR1)


def term_to_one_rank(process: subprocess.Popen[str], out: Path) -> None:
    os.kill(ranks_of(process)[0], signal.SIGTERM)


def usr1_to_the_launcher(process: subprocess.Popen[str], out: Path) -> None:
    process.send_signal(signal.SIGUSR1)


ASK = {f.__name__: f for f in (stop_file, stop_file_of_all, usr1_to_one_rank,
                               term_to_one_rank, usr1_to_the_launcher)}  # fmt: skip


def assert_stopped(out: Path, status: int, errors: str) -> None:
    """The job says that it stopped early, in every place where it is looked for."""
    assert status == 4, errors
    assert "Traceback" not in errors
    assert errors.count("eddyscope: stopped early: at step") == 1
    for path in (out / "status.json", out / "base" / "status.json"):
        record = json.loads(path.read_text())
        assert record["state"] == "stopped early"
        assert record["exit_status"] == 4
    assert len(list((out / "base" / "checkpoints").glob("step-*.h5"))) == 1
    assert Dataset(out / "base" / "dataset.h5").verify() == []


@pytest.mark.parametrize(
    ("name", "ask", "before", "after"),
    [
        ("ab2cn", "stop_file", 3, 1),
        ("ab2cn", "stop_file_of_all", 1, 2),
        ("ifrk3", "usr1_to_one_rank", 2, 3),
        ("adaptive", "term_to_one_rank", 2, 1),
        ("ring", "usr1_to_the_launcher", 1, 3),
    ],
)
def test_stopped_and_resumed_on_other_ranks_it_has_the_same_bits(
    launch, cases, uninterrupted, tmp_path, name, ask, before, after
):
    expected = uninterrupted(name)
    out = tmp_path / "out"
    with started(before, command(cases, name, out)) as process:
        wait_for(lambda: has_recorded(out), process)
        ASK[ask](process, out)
        _, errors = process.communicate(timeout=LIMIT)
        assert_stopped(out, process.returncode, errors)
    ended = launch(after, command(cases, name, out, "--resume"), LIMIT)
    assert ended.returncode == 0, ended.stderr
    assert "from the checkpoint at step" in ended.stdout
    assert_same_arrays(out / "base" / "dataset.h5", expected)


def test_stopped_by_wall_time_again_and_again_it_ends_with_the_same_bits(
    launch, cases, uninterrupted, tmp_path
):
    expected, stops, steps = uninterrupted("ring"), 0, [0]
    limited = command(cases, "ring", tmp_path, "stop.seconds=0.3")
    for ranks in (3, 1):
        ended = launch(ranks, limited, LIMIT)
        if ended.returncode == 0:
            break
        assert ended.returncode == 4, ended.stderr
        assert "as asked by stop.seconds = 0.3" in ended.stderr
        stops += 1
        steps.append(max(int(p.stem[5:]) for p in (tmp_path / "base/checkpoints").glob("step-*")))
    assert stops > 0, "it was never stopped"
    assert steps == sorted(set(steps)), "it did not get further"
    ended = launch(2, command(cases, "ring", tmp_path), LIMIT)
    assert ended.returncode == 0, ended.stderr
    assert_same_arrays(tmp_path / "base" / "dataset.h5", expected)


WILD = {
    "grows": ("ab2cn", 0.02, "{kind='random', peak=3.0, energy=12.0}", "but the stable step is"),
    "hopeless": ("ifrk3", 0.02, "{kind='random', peak=3.0, energy=1e5}", "but the stable step is"),
    "too large for the dataset": (
        "ab2cn",
        1e-24,
        "{{kind='file', path='{folder}/huge.npy'}}",
        "not finite in float32",
    ),
}
"""Name -> scheme, dt, initial condition, what the message says. AB2 at (k u dt) = 2 grows in some
steps; ifrk3's step is beyond hope at once; the last is stable, but Π is beyond float32."""


def huge_field(n: int = 16) -> np.ndarray:
    """Vorticity that float32 holds, with products that it does not."""
    x, y = points(n)
    field: np.ndarray = 1e21 * (np.cos(3 * x) * np.cos(2 * y) + np.sin(x + y) + np.cos(2 * x))
    return field


def wild(cases, folder: Path, name: str) -> list[str]:
    """The command line of a run that blows up."""
    scheme, dt, initial, _ = WILD[name]
    if "{folder}" in initial:
        np.save(folder / "huge.npy", huge_field())
        initial = initial.format(folder=folder)
    options = [
        f"time.scheme='{scheme}'",
        f"time.dt={dt}",
        "checkpoint.seconds=0",
        "base.flow.reynolds=1e9",
        "base.flow.drag=0.0",
        f"base.flow.initial={initial}",
        f"base.ensemble.spin_up={dt}",
        f"base.ensemble.interval={dt}",
        "base.ensemble.samples=100",
    ]
    words = command(cases, "ab2cn", folder / name.replace(" ", "-"), *options)[3:]
    return [word for word in words if word != "time.dt=0.0002"]


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_blow_up_keeps_good_samples_and_a_post_mortem(launch, cases, tmp_path, ranks):
    """All in one job, and the one that has checkpoints once more."""
    calls = [wild(cases, tmp_path, name) for name in (*WILD, "grows")]
    *jobs, again = in_turn(launch, ranks, calls, LIMIT)
    for name, ended in zip(WILD, jobs, strict=True):
        out = tmp_path / name.replace(" ", "-")
        assert ended.returncode == 3, ended.stderr
        assert "Warning" not in ended.stderr and "Traceback" not in ended.stderr
        (message,) = [line for line in ended.stderr.splitlines() if "blew up" in line]
        for part in (
            WILD[name][-1],
            "at t = ",
            "(step ",
            "post-mortem.h5",
            "use a smaller time.dt",
        ):
            assert part in message
        status = json.loads((out / "status.json").read_text())
        assert (status["state"], status["exit_status"]) == ("blew up", 3)
        assert_finite(out / "base" / "dataset.h5")
        kept = sorted(path.name for path in (out / "base" / "checkpoints").iterdir())
        assert "post-mortem.h5" in kept
        assert not [name for name in kept if name.endswith(".tmp")]
        if name == "grows":
            assert len([name for name in kept if name.startswith("step-")]) == 2
            assert Dataset(out / "base" / "dataset.h5").committed.any()
    assert again.returncode == 3, again.stderr
    assert "from the checkpoint at step" in again.stdout


def assert_finite(path: Path) -> None:
    """Nothing that is called committed, and no diagnostics before the end, is NaN or infinite."""
    dataset = Dataset(path)
    assert dataset.verify() == []
    for n in dataset.grids:
        for name in ("psi", "omega", "pi"):
            for member, sample in np.argwhere(dataset.committed):
                field = dataset.read(n, name, [member], slice(sample, sample + 1))
                assert np.isfinite(field).all()
    with h5py.File(path, "r", locking=False) as file:
        for name in ("energy", "enstrophy_flux"):
            assert np.isfinite(file[f"spectra/{name}"][()][dataset.committed]).all()
        for name, values in file["diagnostics"].items():
            assert not np.isinf(values[()]).any(), name


# --- What sampling changes, and what a run on several rank counts says -----------------------


def last_field(folder: Path, time: str, interval: float, samples: int) -> np.ndarray:
    """Filtered vorticity at t = 0.4 of a run with samples so often."""
    options = [f"time={time}", f"base.ensemble.interval={interval}", "base.ensemble.spin_up=0.0",
               f"base.ensemble.samples={samples}", "filter.precision='float64'"]  # fmt: skip
    arguments = ["dns", str(write_case(folder)), "--system", "base", "--out", str(folder / "out")]
    assert guard(lambda: dispatch([*arguments, *options])) == 0
    return Dataset(folder / "out" / "base" / "dataset.h5").read(8, "omega", [0])[0, -1]


@pytest.mark.parametrize(("time", "is_same"), [("{dt=0.01}", True), ("{cfl=0.4}", False)])
def test_sampling_more_often_changes_nothing_with_a_fixed_step(tmp_path, time, is_same):
    """Steps that adapt end at marks, so there it changes the solution by the scheme's error, as
    `time.cfl` says."""
    fields = []
    for number, (interval, samples) in enumerate(((0.4, 2), (0.1, 5))):
        folder = tmp_path / str(number)
        folder.mkdir()
        fields.append(last_field(folder, time, interval, samples))
    assert (fields[0].tobytes() == fields[1].tobytes()) is is_same
    np.testing.assert_allclose(fields[0], fields[1], rtol=0, atol=1e-4 * np.abs(fields[0]).max())


def test_every_segments_ranks_are_recorded(launch, tmp_path):
    out = tmp_path / "out"
    arguments = ["dns", str(write_case(tmp_path)), "--system", "base", "--out", str(out)]
    slow = ["base.ensemble.samples=400", "stop.seconds=0.05"]
    command = [sys.executable, "-m", "eddyscope", *arguments, *slow]
    assert launch(2, command, LIMIT).returncode == 4
    assert guard(lambda: dispatch([*command[3:-1], "stop.seconds=1e6"])) == 0
    status = read_status(out / "base" / "status.json")
    assert [segment.ranks for segment in status.segments] == [2, 1]
    assert status.ranks == "2, then 1"
    assert all(segment.threads >= 1 for segment in status.segments)


def test_a_flow_at_rest_is_said_to_be_in_plain_words(launch, tmp_path):
    np.save(tmp_path / "rest.npy", np.zeros((16, 16)))
    words = ["dns", str(write_case(tmp_path)), "--system", "base"]
    rest = ["base.flow.forcing={kind='none'}", "base.flow.initial={kind='file',path='rest.npy'}"]
    times = {"fixed": "time={dt=0.01}", "adaptive": "time={cfl=0.5}"}
    calls = [[*words, *rest, time, "--out", str(tmp_path / out)] for out, time in times.items()]
    for ended in in_turn(launch, 1, calls, LIMIT):
        assert ended.returncode == 0, ended.stderr
        assert "nan" not in ended.stdout + ended.stderr and "inf" not in ended.stdout
        assert "at rest" in ended.stdout
        assert "Warning" not in ended.stderr
