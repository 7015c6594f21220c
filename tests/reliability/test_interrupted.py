"""A simulation that is killed, damaged or called again, as a user's job would be."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from in_turn import in_turn
from small_flows import CASE, assert_same_arrays, make_transform_on, state_of, write_case
from synthetic import edited

LIMIT = 120.0
"""Seconds for one job."""

STARTUP = 120.0
"""Seconds in which a job must have reached its time loop; a busy machine takes many."""


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    more = CASE.replace("samples = 3", "samples = 6")
    return write_case(tmp_path_factory.mktemp("interrupted"), more)


@pytest.fixture
def eddyscope(launch, case: Path):
    """`eddyscope(out, ranks, *options)` runs dns; gives (exit status, output, errors)."""

    def run(out: Path, *options: str, ranks: int = 2):
        ended = launch(ranks, command(case, out, *options), LIMIT)
        return ended.returncode, ended.stdout, ended.stderr

    return run


@pytest.fixture
def call(case: Path, capsys):
    """`call(out, *options)` runs dns in this process; gives (exit status, output, errors)."""

    def run(out: Path, *options: str):
        status = guard(lambda: dispatch(command(case, out, *options)[3:]))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def command(case: Path, out: Path, *options: str) -> list[str]:
    arguments = ["dns", str(case), "--system", "base", "--out", str(out), *options]
    return [sys.executable, "-m", "eddyscope", *arguments]


@pytest.fixture(scope="module")
def uninterrupted(case: Path, tmp_path_factory) -> Path:
    """The dataset of a run that no one disturbed, and that wrote no checkpoint."""
    from eddyscope.parallel.launch import launch

    out = tmp_path_factory.mktemp("uninterrupted")
    ended = launch(2, command(case, out, "checkpoint.seconds=1e6"), LIMIT)
    assert ended.returncode == 0, ended.stderr
    assert not (out / "base" / "checkpoints").exists()
    return out / "base" / "dataset.h5"


# --- Kills ---------------------------------------------------------------------------------


def descendants(pid: int) -> Iterator[int]:
    """A process and all that it started, directly or not."""
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from descendants(int(child))


def kill_all(process: subprocess.Popen[str]) -> None:
    """End a job and all its ranks at once, as a power cut would; with their locks they are gone."""
    killed = list(descendants(process.pid))
    for pid in killed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + STARTUP
    while any(is_running(pid) for pid in killed):
        assert time.monotonic() < deadline, "a killed process is still there"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process is there and not just waiting for its parent to hear that it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + STARTUP
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the job never got that far"
        time.sleep(0.005)


def newest_checkpoint(out: Path) -> str:
    with suppress(OSError):
        names = (path.name for path in (out / "base" / "checkpoints").iterdir())
        return max((name for name in names if name.endswith(".h5")), default="")
    return ""


@contextmanager
def started(ranks: int, words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A job in the background; none of it is left behind."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_COMM", "PMIX_"))}
    environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    process = subprocess.Popen(
        ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_all(process)
        for stream in (process.stdout, process.stderr):
            stream.close()


def run_and_kill(case: Path, out: Path, ranks: int, delay: float) -> bool:
    """Start a job and kill it `delay` seconds after its first new checkpoint; False if it ended
    before that."""
    before = newest_checkpoint(out)
    with started(ranks, command(case, out)) as process:
        wait_for(lambda: newest_checkpoint(out) > before, process)
        time.sleep(delay)
        return process.poll() is None


def assert_sound(path: Path) -> None:
    """The dataset opens, and all that is called committed is whole."""
    dataset = Dataset(path)
    assert dataset.verify() == []


def test_killed_again_and_again_it_ends_with_the_same_bits(
    eddyscope, call, case, uninterrupted, tmp_path
):
    rng = np.random.default_rng(1)
    out, other, killed = tmp_path / "out", tmp_path / "other", 0
    for _ in range(3):
        killed += run_and_kill(case, out, 2, delay=rng.uniform(0.0, 0.05))
        assert_sound(out / "base" / "dataset.h5")
    assert killed > 0, "every job ended before it was killed"
    shutil.copytree(out, other)
    for folder, (status, words, errors) in ((out, call(out)), (other, eddyscope(other, ranks=3))):
        assert status == 0, errors
        assert "from the checkpoint at step" in words or "complete, unchanged" in words
        assert_same_arrays(folder / "base" / "dataset.h5", uninterrupted)


def test_killed_before_its_first_checkpoint_it_starts_again(call, case, uninterrupted, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command(case, out), stdout=subprocess.DEVNULL)
    try:
        wait_for((out / "status.json").exists, process)
    finally:
        kill_all(process)
    status, _, errors = call(out)
    assert status == 0, errors
    assert_same_arrays(out / "base" / "dataset.h5", uninterrupted)


# --- Damage --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(case, tmp_path_factory) -> Path:
    """An output folder with checkpoints of a run that is not done; tests must leave it so."""
    out = tmp_path_factory.mktemp("killed")
    assert run_and_kill(case, out, 1, delay=0.0)
    while len(list((out / "base" / "checkpoints").glob("step-*.h5"))) < 2:
        run_and_kill(case, out, 1, delay=0.0)
    return out


@pytest.fixture
def unfinished(killed, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(killed, tmp_path / "out"))


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(
    eddyscope, unfinished, uninterrupted
):
    before, newest = sorted((unfinished / "base" / "checkpoints").glob("step-*.h5"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0x01
    newest.write_bytes(content)
    (unfinished / "base" / "checkpoints" / "step-0000000099.h5.tmp").write_bytes(b"half")
    status, words, errors = eddyscope(unfinished)
    assert status == 0, errors
    assert f"{newest.name} is not used: it is damaged" in words
    assert f"from the checkpoint at step {int(before.stem[5:])}\n" in words
    assert_same_arrays(unfinished / "base" / "dataset.h5", uninterrupted)


DAMAGE = {
    "one bit in the middle": lambda content: flip(content, len(content) // 2),
    "one bit at the start": lambda content: flip(content, 9),
    "one bit near the end": lambda content: flip(content, len(content) - 30),
    "cut short": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "empty": lambda content: b"",
    "other text": lambda content: b"not a checkpoint\n" * 1000,
    "zeros at the end": lambda content: content[:-4000] + bytes(4000),
}


def flip(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0x10
    return bytes(changed)


@pytest.fixture
def kept(tmp_path) -> tuple[Checkpoints, Path, dict[int, np.ndarray]]:
    """(checkpoints of steps 1 and 2, the newest one's file, step -> the state)."""
    transform = make_transform_on(World.single(), 16, members=2)
    checkpoints = Checkpoints(tmp_path, CheckpointSettings(), "this run", transform)
    states = {1: state_of(transform), 2: 2.0 * state_of(transform)}
    for step, state in states.items():
        checkpoints.save({"step": step}, {"omega_hat": state})
    return checkpoints, tmp_path / "step-0000000002.h5", states


def load(checkpoints: Checkpoints) -> tuple[int | None, np.ndarray]:
    found = {"omega_hat": checkpoints.transform.zeros_spectral()}
    clock = checkpoints.load({"step": 0}, found)
    return None if clock is None else int(clock["step"]), found["omega_hat"]


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damage_of_any_kind_leads_to_the_checkpoint_before(kept, damage):
    checkpoints, newest, states = kept
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    step, state = load(checkpoints)
    assert step == 1
    np.testing.assert_array_equal(state, states[1])
    assert list(checkpoints.passed_over) == [newest]
    assert checkpoints.passed_over[newest]
    assert newest.exists(), "loading deletes nothing"


def test_one_wrong_byte_anywhere_never_gives_a_wrong_state(kept, rng):
    """HDF5 itself may crash or loop on such files: they must not reach it."""
    checkpoints, newest, states = kept
    content = newest.read_bytes()
    used = set()
    for _ in range(300):
        newest.write_bytes(flip(content, int(rng.integers(len(content)))))
        step, state = load(checkpoints)
        assert step is not None
        np.testing.assert_array_equal(state, states[step])
        used.add(step)
    assert used == {1}


def test_with_all_of_them_damaged_there_is_none(kept):
    checkpoints, newest, _ = kept
    for path in newest.parent.iterdir():
        path.write_bytes(b"")
    assert load(checkpoints)[0] is None


def test_stray_files_are_not_checkpoints(kept):
    checkpoints, newest, _ = kept
    for name in ("step-0000000003.h5.tmp", "step-3.h5", "notes.txt"):
        (newest.parent / name).write_text("")
    assert load(checkpoints)[0] == 2
    assert checkpoints.passed_over == {}


def test_a_renamed_checkpoint_is_not_taken_for_another_step(kept):
    checkpoints, newest, _ = kept
    newest.rename(newest.with_name("step-0000000007.h5"))
    assert load(checkpoints)[0] == 1


# --- Called again --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def complete(case: Path, tmp_path_factory) -> Path:
    """An output folder of a finished run; tests must leave it so."""
    out = tmp_path_factory.mktemp("complete")
    assert guard(lambda: dispatch(command(case, out)[3:])) == 0
    return out


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in files}


def test_the_same_run_gives_the_same_bytes(eddyscope, complete, tmp_path):
    """Of its dataset and checkpoints, at another time and on another rank count."""
    status, _, errors = eddyscope(tmp_path, ranks=2)
    assert status == 0, errors
    files = sorted(path.relative_to(complete) for path in complete.rglob("*.h5"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / file).read_bytes() == (complete / file).read_bytes(), file


@pytest.mark.parametrize("options", [(), ("--resume",), ("checkpoint.seconds=1",)])
def test_a_complete_stage_is_not_repeated(call, complete, options):
    before = stamps(complete)
    status, words, errors = call(complete, *options)
    assert status == 0, errors
    assert "dns.base: complete, unchanged" in words
    assert stamps(complete) == before


@pytest.mark.parametrize("change", ["seed=6", "base.ensemble.samples=4", "time.dt=0.005"])
def test_a_changed_case_is_refused_with_the_way_out(call, complete, change):
    before = stamps(complete)
    status, _, errors = call(complete, change)
    assert status == 2
    assert change.partition("=")[0] in errors
    assert "--fresh" in errors and "--out" in errors
    assert stamps(complete) == before


def test_nothing_to_resume_is_said(call, tmp_path):
    status, _, errors = call(tmp_path / "new", "--resume")
    assert status == 2
    assert "nothing to resume" in errors
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("options", [(), ("--fresh",)])
def test_a_dataset_of_unknown_origin_is_not_overwritten(call, tmp_path, options):
    path = tmp_path / "base" / "dataset.h5"
    path.parent.mkdir()
    path.write_text("precious")
    status, _, errors = call(tmp_path, *options)
    assert status == 2
    assert "--fresh" in errors and "--out" in errors
    assert path.read_text() == "precious"
    assert [p.name for p in path.parent.iterdir()] == ["dataset.h5"]


def test_a_dataset_that_was_put_in_the_place_of_ours_is_not_overwritten(
    call, complete, uninterrupted, tmp_path
):
    out = tmp_path / "out"
    shutil.copytree(complete, out)
    path = out / "base" / "dataset.h5"
    with edited(path) as file:
        file.attrs["seed"] = 99
    for options in ((), ("--fresh",)):
        status, _, errors = call(out, *options)
        assert status == 2 and str(path) in errors, errors
    content = bytearray(uninterrupted.read_bytes())
    content[-3000] ^= 1  # damaged metadata cannot say whose it is
    path.write_bytes(content)
    for options, words in (((), "move it away and make it again"), (("--fresh",), "move it away")):
        status, _, errors = call(out, *options)
        assert status == 2 and words in errors and path.read_bytes() == content, errors
    path.unlink()
    assert call(out, "--fresh")[0] == 0
    assert_same_arrays(path, uninterrupted)


def test_fresh_redoes_the_stage(call, tmp_path, uninterrupted):
    out = tmp_path / "out"
    assert call(out, "base.flow.reynolds=50.0")[0] == 0
    status, words, errors = call(out, "--fresh")
    assert status == 0, errors
    assert "starting afresh" in words
    assert_same_arrays(out / "base" / "dataset.h5", uninterrupted)


WILD = {
    "at once": ("base.flow.initial.energy=1e12", "time.scheme=ifrk3"),
    "after a while": (
        "base.flow.initial.energy=60.0",
        "base.ensemble.samples=60",
        "time.scheme=ab2cn",
    ),
}
"""Settings that blow up; the second by AB2's slow growth, so that some samples are good."""


def test_a_blow_up_is_told_and_leaves_what_is_committed(launch, case, tmp_path):
    outs = {when: tmp_path / when.replace(" ", "-") for when in WILD}
    wild = [command(case, outs[w], "base.flow.reynolds=1e9", *WILD[w])[3:] for w in WILD]
    for (when, out), ended in zip(outs.items(), in_turn(launch, 2, wild, LIMIT), strict=True):
        errors = ended.stderr
        assert ended.returncode == 3, errors
        assert errors.count("eddyscope: blew up: ") == 1
        assert "Traceback" not in errors
        assert '"blew up"' in (out / "status.json").read_text()
        assert_sound(out / "base" / "dataset.h5")
        dataset = Dataset(out / "base" / "dataset.h5")
        good = list((out / "base" / "checkpoints").glob("step-*.h5"))
        assert not dataset.complete
        assert dataset.committed.any() == (when == "after a while") == (len(good) == 2)


# --- Files that are passed over ------------------------------------------------------------


def test_files_passed_over_never_crowd_out_sound_ones(kept):
    """A damaged newest and one of another run stay, and do not count among those that are kept."""
    checkpoints, newest, _ = kept
    newest.write_bytes(newest.read_bytes()[:-7])
    elsewhere = newest.parent / "elsewhere"
    other = Checkpoints(elsewhere, CheckpointSettings(), "other", checkpoints.transform)
    state = {"omega_hat": state_of(checkpoints.transform)}
    other.save({"step": 10**9}, state)
    foreign = newest.with_name("step-1000000000.h5")
    (elsewhere / foreign.name).rename(foreign)
    elsewhere.rmdir()
    assert load(checkpoints)[0] == 1
    reasons = checkpoints.passed_over
    assert list(reasons) == [foreign, newest]
    assert "another run" in reasons[foreign] and "damaged" in reasons[newest]
    for step in (3, 4, 5):
        checkpoints.save({"step": step}, state)
    left = {path.name for path in newest.parent.iterdir()}
    assert left == {foreign.name, newest.name, "step-0000000004.h5", "step-0000000005.h5"}
    assert load(checkpoints)[0] == 5
    checkpoints.save({"step": 2}, state)  # what was damaged is replaced
    assert newest not in checkpoints.passed_over


def test_a_checkpoint_that_does_not_serve_is_passed_over_with_the_reason(kept):
    checkpoints, newest, states = kept
    found = {"omega_hat": checkpoints.transform.zeros_spectral()}

    def unusable(clock):
        return "too new" if clock["step"] > 1 else ""

    clock = checkpoints.load({"step": 0}, found, unusable)
    assert clock == {"step": 1}
    np.testing.assert_array_equal(found["omega_hat"], states[1])
    assert checkpoints.passed_over == {newest: "too new"}


def test_checkpoints_without_their_dataset_are_not_gone_on_from(call, unfinished, uninterrupted):
    """The samples and records before them would be missing: it starts again. They stay."""
    (unfinished / "base" / "dataset.h5").unlink()
    before = {path.name for path in (unfinished / "base" / "checkpoints").glob("step-*.h5")}
    status, words, errors = call(unfinished)
    assert status == 0, errors
    assert words.count("the dataset has not all samples and records before it") == len(before) > 0
    assert "from the checkpoint" not in words
    assert_same_arrays(unfinished / "base" / "dataset.h5", uninterrupted)


def test_fresh_removes_every_checkpoint(call, unfinished):
    folder = unfinished / "base" / "checkpoints"
    (folder / "step-9999999999.h5").write_bytes(b"damaged")
    status, words, errors = call(unfinished, "--fresh")
    assert status == 0, errors
    assert "not used" not in words
    assert not (folder / "step-9999999999.h5").exists()
