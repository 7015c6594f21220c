"""What a command will do is known before it starts anything, from what the output folder holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.advice import read_advice
from eddyscope.artefacts.evaluation import read_summary
from eddyscope.parallel.failure import guard
from in_turn import Ended, on_ranks
from synthetic import edited

CASE = """
name = "tiny"
seed = 3
grid.n = 32
time.dt = 0.01
filter.n = [16]
[base]
flow = {kind = "navier_stokes", reynolds = 100.0, initial = {kind = "random", peak = 3.0, energy = 0.5}}
ensemble = {members = 3, interval = 0.02, samples = 2}
[target]
flow = {kind = "navier_stokes", reynolds = 50.0, initial = {kind = "random", peak = 4.0, energy = 0.5}}
ensemble = {members = 3, interval = 0.02, samples = 2}
[network]
depth = 2
width = 4
kernel_size = 3
[training]
epochs = 1
[transfer]
samples = 2
epochs = 1
layers = ["l01", "l02"]
controls = ["scale"]
[advise]
scores = [{kind = "linearised_gain", iterations = 2}]
default_score = "linearised_gain"
[les]
duration = 0.04
closures = ["none", "best"]
"""  # noqa: E501

LIMIT = 120.0
"""Seconds for one job."""

STEPS = (
    "dns.base", "dns.target", "normalise.base", "train", "normalise.target",
    "advise.linearised_gain", "advise", "transfer", "evaluate", "les.dns", "les.none", "les.best",
    "analyze",
)  # fmt: skip

MORE = (
    'transfer.controls=["scale", "gain"]',
    'les.closures=["none", "best", "base"]',
    'advise.scores=[{kind = "linearised_gain", iterations = 2}, "relative_gradient"]',
)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("case") / "tiny.toml"
    path.write_text(CASE)
    return path


@pytest.fixture(scope="module")
def template(case, tmp_path_factory) -> Path:
    """The output folder of a complete run; tests must leave it so."""
    out: Path = tmp_path_factory.mktemp("complete")
    assert guard(lambda: dispatch(["run", str(case), "--out", str(out)])) == 0
    return out


@pytest.fixture
def complete(template, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(template, tmp_path / "out"))


@pytest.fixture
def call(case, capfd) -> Call:
    """A stage of the case on this rank alone."""

    def run(stage: str, out: Path, *words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = guard(lambda: dispatch([stage, str(case), "--out", str(out), *words]))
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def calls(case, launch, capfd):
    """`calls(ranks, (stage, folder, *words), …)`: how each ends, on this rank alone or all of them
    in one job."""

    def run(ranks: int, *given: tuple[Any, ...]) -> list[Ended]:
        lines = [(stage, case, "--out", out, *words) for stage, out, *words in given]
        return on_ranks(launch, capfd, ranks, lines, LIMIT)

    return run


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in files}


def told(words: str) -> dict[str, str]:
    """Step -> what becomes of it, from the lines of a dry run."""
    found = {}
    for line in words.splitlines():
        names, _, what = line.strip().partition(": ")
        found |= {name: what for name in names.split(", ") if name in {*STEPS, *ADDED}}
    return found


ADDED = ("advise.relative_gradient", "les.base")


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_dry_run_after_a_complete_one_says_so_of_every_step(calls, template, ranks):
    before = stamps(template)
    (ended,) = calls(ranks, ("run", template, "--dry-run"))
    assert ended.returncode == 0, ended.stderr
    assert told(ended.stdout) == dict.fromkeys(STEPS, "complete, unchanged")
    assert stamps(template) == before


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_several_stages_need_is_told_when_it_is_made_alone(
    calls, template, complete, tmp_path, ranks
):
    """Called again, each stage says what becomes of its own steps, not of those they share."""
    lacking = Path(shutil.copytree(template, tmp_path / "lacking"))
    (lacking / "normalisation" / "target.json").unlink()
    again, made = calls(ranks, ("run", complete), ("advise", lacking))
    own = [step for step in STEPS if not step.startswith("normalise.")]
    assert told(again.stdout) == dict.fromkeys(own, "complete, unchanged")
    assert "normalise.target: going on" in made.stdout


LATER = {
    "les": "les.dt=0.02",
    "advise": "advise.scores=[{kind='linearised_gain', iterations=3}]",
    "transfer": "transfer.epochs=2",
}
"""Stage -> a change of its section."""


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_changed_later_section_is_refused_before_anything_is_done(calls, complete, ranks):
    """Although an earlier step would have work to do."""
    (complete / "base" / "dataset.h5").unlink()
    before = stamps(complete)
    refused = calls(ranks, *(("run", complete, change) for change in LATER.values()))
    for stage, ended in zip(LATER, refused, strict=True):
        assert ended.returncode == 2, ended.stdout
        lines = [line for line in ended.stderr.splitlines() if line.startswith("eddyscope:")]
        assert len(lines) == 1 and f"`eddyscope {stage} … --fresh`" in lines[0], ended.stderr
    assert stamps(complete) == before


def test_a_dry_run_of_nothing_starts_everything_and_writes_nothing(call, tmp_path):
    status, words, errors = call("run", tmp_path / "new", "--dry-run")
    assert status == 0, errors
    assert told(words) == dict.fromkeys(STEPS, "starting")
    assert not (tmp_path / "new").exists()


def test_what_an_earlier_stage_makes_anew_is_not_held_against_a_later_one(call, complete):
    """A damaged input that will be replaced; without the stage that does it, it is refused."""
    model = complete / "models" / "base.safetensors"
    model.write_bytes(model.read_bytes()[:100])
    (complete / "evaluation.json").write_text("{}")
    before = stamps(complete)
    status, words, errors = call("run", complete, "--fresh", "--dry-run")
    assert status == 0, errors
    assert set(told(words).values()) == {"starting afresh"}
    assert call("transfer", complete, "--dry-run")[0] == 2
    assert call("les", complete, "--dry-run")[0] == 2
    assert stamps(complete) == before


def test_one_more_of_each_makes_one_and_what_follows(call, complete):
    before = stamps(complete)
    status, words, errors = call("run", complete, *MORE, "--dry-run")
    assert status == 0, errors
    found = told(words)
    assert {found[name] for name in ADDED} == {"starting"}
    assert found["transfer"] == "going on"
    for name in ("advise", "evaluate", "analyze"):
        assert found[name].startswith("starting afresh, since what it reads is made anew"), name
    assert stamps(complete) == before
    status, words, errors = call("run", complete, *MORE)
    assert status == 0, errors
    after = stamps(complete)
    kept = ["base/dataset.h5", "target/dataset.h5", "models/base.safetensors", "les/none.h5",
            "models/transfer/l01.safetensors", "models/transfer/scale.safetensors",
            "advice/linearised_gain/advice.json", "les/dns.h5", "les/best.h5"]  # fmt: skip
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert {"models/transfer/gain.safetensors", "les/base.h5"} <= after.keys()
    advice = read_advice(complete / "advice.json")
    assert list(advice.scores) == ["linearised_gain", "relative_gradient"]
    assert "gain" in read_summary(complete / "evaluation.json").models
    # One less again: what is there stays, but is neither evaluated nor shown.
    status, words, errors = call("run", complete)
    assert status == 0, errors
    assert "gain" not in read_summary(complete / "evaluation.json").models
    assert list(read_advice(complete / "advice.json").scores) == ["linearised_gain"]
    assert "les/base.h5: left out, since the case does not ask for it" in words
    same = {name: stamps(complete)[name] for name in ("models/transfer/gain.safetensors",
                                                      "les/base.h5")}  # fmt: skip
    assert same == {name: after[name] for name in same}
    assert "transfer: complete, unchanged" in call("transfer", complete, *MORE)[1]


def test_a_model_that_someone_put_there_is_not_taken_for_ours(call, complete):
    folder = complete / "models" / "transfer"
    shutil.copy(folder / "scale.safetensors", folder / "gain.safetensors")
    status, _, errors = call("transfer", complete, MORE[0])
    assert status == 2 and "gain.safetensors exists, but there is no record" in errors


RECORDS = {
    "damaged": lambda text: text[:40],
    "of an uncompleted run": lambda text: json.dumps(
        {**json.loads(text), "state": "running", "outputs": {}}
    ),
}


@pytest.mark.parametrize("record", list(RECORDS))
@pytest.mark.parametrize("whose", ["ours", "the user's", "unreadable"])
def test_fresh_asks_the_dataset_whose_it_is(call, complete, record, whose):
    path, status_file = complete / "base" / "dataset.h5", complete / "base" / "status.json"
    status_file.write_text(RECORDS[record](status_file.read_text()))
    if whose == "the user's":
        with edited(path) as file:
            del file.attrs["case_hash"]
    elif whose == "unreadable":
        path.write_bytes(path.read_bytes()[:-50])
    before = stamps(complete)
    for dry in (["--dry-run"], []):
        status, _, errors = call("dns", complete, "--system", "base", "--fresh", *dry)
        if whose == "ours":
            assert status == 0, errors
        else:
            assert status == 2 and "--fresh does not replace it; move it away" in errors
    assert (stamps(complete) == before) == (whose != "ours")


def test_info_knows_the_status_of_an_output_folder(template, capfd):
    assert guard(lambda: dispatch(["info", str(template / "status.json")])) == 0
    words = capfd.readouterr().out
    assert "kind: status of the step that was last at work here\nstep: analyze" in words


@pytest.mark.parametrize("words", ["--help", "run --dry-run", "dns --dry-run"])
def test_a_closed_standard_output_ends_quietly(case, template, words):
    stage, *options = words.split()
    named = [] if stage == "--help" else [str(case), "--out", str(template)]
    command = [sys.executable, "-m", "eddyscope", stage, *named, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as job:
        assert job.stdout is not None and job.stderr is not None
        job.stdout.close()  # nobody reads, not even the first line
        assert (job.stderr.read(), job.wait(LIMIT)) == ("", 0)
