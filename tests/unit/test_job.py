"""Steps: what decides them, what a later call makes of what it finds, and what status files say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eddyscope.artefacts.status import Status, lock_file, read_last, read_status
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import BlewUp
from eddyscope.parallel.world import World
from eddyscope.stages.job import Job, Step
from eddyscope.stages.stage import STAGES, load_stages
from eddyscope.storage.lock import take_lock
from small_flows import make_case


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(make_case(tmp_path), World.single(), tmp_path / "out")


def changed(job: Job, folder: Path, *overrides: str) -> Job:
    return replace(job, case=make_case(folder, *overrides))


def step_of(job: Job, *sections: str, inputs: tuple[Path, ...] = ()) -> Step:
    return Step("train", sections or ("training",), inputs, outputs=(job.out / "result",))


def works(job: Job, step: Step) -> bool:
    """Whether `step` is worked on, which makes its output."""
    done = []

    def work() -> None:
        done.append(True)
        (job.out / "result").write_text("made")

    job.perform(step, work)
    return bool(done)


def recorded(job: Job) -> Status:
    found = read_status(job.out / "status" / "train.json")
    assert found is not None
    return found


# --- What decides a result -----------------------------------------------------------------


def test_a_complete_unchanged_step_is_skipped(job):
    assert works(job, step_of(job))
    assert not works(job, step_of(job))


def test_a_change_of_the_case_is_refused_with_what_changed(job, tmp_path):
    works(job, step_of(job))
    other = changed(job, tmp_path, "training.epochs=7")
    with pytest.raises(
        CaseError, match=r"another case: training.epochs was 100, is now 7; use --f"
    ):
        works(other, step_of(job))


@pytest.mark.parametrize(
    "override",
    [
        "training.checkpoint_every=3",
        "checkpoint.seconds=5.0",
        "checkpoint.keep=3",
        "stop.seconds=5.0",
        "stop.signals=['INT']",
        "transform.mesh=[1, 1]",
        "name=other",
    ],
)
def test_a_setting_that_changes_no_result_makes_nothing_anew(job, tmp_path, override):
    step = step_of(job, "training", "checkpoint", "stop", "transform")
    works(job, step)
    other = changed(job, tmp_path, override)
    assert not works(other, step)
    assert other.identity(step) == job.identity(step)


def test_the_seed_decides_only_what_declares_it(job, tmp_path):
    other = changed(job, tmp_path, "seed=6")
    assert other.identity(step_of(job)) == job.identity(step_of(job))
    assert other.identity(step_of(job, "seed")) != job.identity(step_of(job, "seed"))


def test_a_key_of_a_system_that_is_not_there_is_none(job):
    works(job, step_of(job, "target.ensemble.samples"))
    assert recorded(job).sections == {"target.ensemble.samples": None}


def test_a_changed_input_makes_the_step_anew(job, tmp_path):
    read = tmp_path / "read"
    read.write_text("one")
    step = step_of(job, inputs=(read,))
    before = job.identity(step)
    works(job, step)
    read.write_text("two")
    assert job.identity(step) != before
    assert job.review(step).discard
    assert works(job, step)
    assert len(recorded(job).segments) == 1


def test_a_missing_input_is_named_with_the_way_out(job, tmp_path):
    with pytest.raises(CaseError, match="gone: missing, but train reads it; run the stage"):
        works(job, step_of(job, inputs=(tmp_path / "gone",)))


# --- Status --------------------------------------------------------------------------------


def test_each_time_a_step_is_worked_on_is_recorded(job, monkeypatch):
    def dies() -> None:
        raise KeyboardInterrupt

    for threads in ("2", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        with pytest.raises(KeyboardInterrupt):
            job.perform(step_of(job), dies)
    works(job, step_of(job))
    segments = recorded(job).segments
    assert [segment.threads for segment in segments] == [2, 3, 3]
    assert [segment.ranks for segment in segments] == [1, 1, 1]


def test_ranks_are_told_in_their_order():
    text = """{"step": "train", "state": "complete", "exit_status": 0, "message": "", "updated": "",
        "sections": {}, "inputs": {}, "segments": [%s]}"""
    entry = '{"began": "", "ranks": %d, "threads": 1, "code_version": "1"}'
    segments = ", ".join(entry % ranks for ranks in (2, 2, 1, 2))
    assert Status.model_validate_json(text % segments).ranks == "2, then 1, then 2"


def test_a_killed_step_reads_interrupted_and_a_working_one_running(job):
    def looks() -> None:
        assert recorded(job).state == "running"
        assert read_last(job.out).state == "running"
        raise KeyboardInterrupt  # nothing is recorded, as after a kill

    with pytest.raises(KeyboardInterrupt):
        job.perform(step_of(job), looks)
    assert recorded(job).state == "interrupted"
    assert read_last(job.out).state == "interrupted"
    assert job.review(step_of(job)).words == "going on after an interruption"


def test_an_ending_that_cannot_be_recorded_claims_nothing(job, monkeypatch):
    def fails() -> None:
        monkeypatch.setattr("eddyscope.storage.atomic.os.replace", no_space)
        raise BlewUp("at step 3")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(BlewUp):
        job.perform(step_of(job), fails)
    assert recorded(job).state == "interrupted"


def test_two_programs_do_not_work_on_one_step(job):
    works(job, step_of(job))
    again = replace(job, fresh=True)
    with take_lock(lock_file(job.out / "status" / "train.json")):
        with pytest.raises(CaseError, match="another program is at work on train"):
            works(again, step_of(job))
    assert recorded(job).state == "complete"


def test_what_another_program_did_meanwhile_is_not_overwritten(job, monkeypatch):
    """Between looking and locking."""

    def meanwhile(*_: object) -> None:
        monkeypatch.undo()
        works(job, step_of(job))

    monkeypatch.setattr("eddyscope.stages.perform.require_space", meanwhile)
    with pytest.raises(CaseError, match="call again"):
        works(job, step_of(job))
    assert recorded(job).state == "complete"


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"3", b"\xff", b"[" * 100_000, b'{"state": "done"}'],
)
def test_a_status_file_that_is_none_is_refused(job, content):
    works(job, step_of(job))
    (job.out / "status" / "train.json").write_bytes(content)
    with pytest.raises(CaseError, match=r"not a readable status file .* use --fresh"):
        works(job, step_of(job))
    assert works(replace(job, fresh=True), step_of(job))


def test_a_status_file_is_json_that_others_can_read(job):
    works(job, step_of(job))
    record = json.loads((job.out / "status" / "train.json").read_text())
    assert record["state"] == "complete"
    assert record["segments"][0].keys() == {"began", "ranks", "threads", "code_version"}
    summary = json.loads((job.out / "status.json").read_text())
    assert summary["record"] == "status/train.json"


# --- Stages --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_meets_the_protocol(name):
    (stage,) = load_stages([name])
    assert stage.name == name
    assert 10 < len(stage.summary) < 100
    assert callable(stage.plan)
    assert callable(stage.run)
