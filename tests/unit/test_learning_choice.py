"""How rate and steps of a re-training are chosen on target samples that are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import synthetic
from eddyscope.artefacts.advice import read_advice
from eddyscope.artefacts.evaluation import read_summary
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import ModelRecord, read_model
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.artefacts.study import read_table
from eddyscope.config.errors import CaseError, in_lines
from eddyscope.learning.batches import Samples
from eddyscope.learning.choice import chosen, count_of_folds, folds_of, judged
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.search import Search, Yardstick
from eddyscope.networks.registry import build
from eddyscope.parallel.attempt import Outcome
from eddyscope.parallel.failure import BlewUp
from eddyscope.parallel.world import World
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.evaluate import STAGE as evaluate
from eddyscope.stages.job import Job
from eddyscope.stages.report import STAGE as report
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer
from synthetic import make_case, write_datasets
from synthetic_models import record_of

Fields = Callable[..., dict[str, np.ndarray]]

LINEAR = str(Path(__file__).parents[1] / "examples" / "linear_net.py")
CHOSEN = 'transfer.recipes=["chosen"]'
TWO = 'transfer.layers=["l01", "l03"]', 'transfer.controls=["scale"]'


def places(members: int, each: int) -> list[tuple[int, int]]:
    """Samples in the order in which training takes them: the members in turn."""
    return [(member, sample) for sample in range(each) for member in range(members)]


# --- Folds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "asked", "count"),
    [(1, None, 0), (2, None, 2), (3, None, 3), (15, None, 4), (16, None, 1), (16, 8, 8), (2, 1, 1)],
)
def test_count_of_folds(samples: int, asked: int | None, count: int):
    folds = folds_of(places(1, samples), asked)
    assert len(folds) == count == count_of_folds(samples, asked)
    for fold in folds:
        assert fold.trained and fold.held_out
        assert sorted(fold.trained + fold.held_out) == list(range(samples))
    if count > 1:  # each is held out once
        assert sorted(n for fold in folds for n in fold.held_out) == list(range(samples))


def test_one_split_holds_out_a_quarter_of_every_member():
    origin = places(2, 8)
    (fold,) = folds_of(origin, None)
    assert [origin[n] for n in fold.held_out] == [(0, 3), (1, 3), (0, 7), (1, 7)]


def test_more_folds_than_samples_are_refused(tmp_path: Path):
    with pytest.raises(CaseError, match="folds = 4, but transfer"):
        make_case(tmp_path, "transfer.folds=4")


# --- The choice ----------------------------------------------------------------------------

POINTS = [0, 10, 20, 30, 40]


def test_the_least_error_is_chosen():
    curves = {0.1: [1.0, 0.8, 0.6, 0.5, 0.4], 0.2: [1.0, 0.5, 0.3, 0.35, 0.5], 0.4: None}
    found = chosen(curves, POINTS, 4)
    assert found is not None
    assert (found.rate, found.steps, found.error, found.held_out) == (0.2, 20, 0.3, 4)
    assert found.curve == curves[0.2]
    best = [(each.rate, each.steps, each.error) for each in found.tried]
    assert best == [(0.1, 40, 0.4), (0.2, 20, 0.3), (0.4, None, None)]


@pytest.mark.parametrize(
    ("curves", "rate", "steps"),
    [
        ({0.1: [1.0, 0.5, 0.4999, 0.4998, 0.4997]}, 0.1, 10),  # no worse, and sooner
        ({0.1: [1.0, 0.9, 0.5, 0.5, 0.5], 0.2: [1.0, 0.5, 0.6, 0.6, 0.6]}, 0.2, 10),
        ({0.1: [0.3, 0.4, 0.5, 0.6, 0.7], 0.2: [0.3, 0.5, 0.7, 0.9, 1.0]}, 0.1, 0),
    ],
)
def test_of_equal_errors_that_of_the_fewest_steps(curves, rate: float, steps: int):
    found = chosen(curves, POINTS, 1)
    assert found is not None
    assert (found.rate, found.steps) == (rate, steps)


def test_nothing_can_be_chosen_of_trainings_that_blew_up():
    assert chosen({0.1: None, 0.2: None}, POINTS, 1) is None


# --- What is said of it --------------------------------------------------------------------


def judgement(
    curves: Mapping[float, list[float] | None], travel: float, stop: int | None = None
) -> ModelRecord:
    ones = dict.fromkeys(("psi", "omega", "pi"), 1.0)
    statistics = Normalisation(name="target", system="target", samples=3, mean=ones, std=ones)
    record = record_of("l02", synthetic_network(), statistics)
    record = record.model_copy(update={"metrics": {"travel": travel}})
    choice = chosen(curves, POINTS, 4) if curves else None
    if choice is not None and stop is None:
        stop = choice.steps
    recipe = Recipe(steps=40, batch_size=2, rate=0.1, key=(1,), stop=stop)
    return judged(record, choice, recipe, "no choice")


def synthetic_network():
    from eddyscope.networks.cnn import Cnn

    return Cnn.Settings(depth=3, width=4, kernel_size=3)


SETTLED = [1.0, 0.8, 0.6, 0.51, 0.505]
FALLING = [1.0, 0.8, 0.7, 0.6, 0.5]
WORSE = [1.0, 0.9, 0.8, 0.7, 0.6]


@pytest.mark.parametrize(
    ("curves", "travel", "converged", "words"),
    [
        ({0.1: SETTLED, 0.2: WORSE}, 0.3, 1.0, "converged"),
        ({0.1: SETTLED, 0.2: WORSE}, 0.83, 0.0, "max |Δθ| is 0.83 of what its steps allow: raise"),
        ({0.1: FALLING, 0.2: WORSE}, 0.3, 0.0, "fell by 17 % over the last quarter"),
        ({0.1: WORSE, 0.2: SETTLED}, 0.3, 0.0, "best at the largest rate, 0.2: widen"),
        ({0.1: SETTLED, 0.2: [*SETTLED[:-1], 0.504]}, 0.3, 1.0, "converged"),  # by 0.2 % alone
        ({0.1: SETTLED}, 0.3, 1.0, "converged"),  # no grid, no largest rate
        ({0.1: SETTLED, 0.2: None}, 0.3, 1.0, "not finite at rate 0.2"),
        ({0.1: [0.3, 0.4, 0.5, 0.6, 0.7]}, 0.0, 1.0, "nothing was re-trained"),
        ({}, 0.3, None, "no choice"),
        ({}, 0.8, 0.0, "max |Δθ| is 0.80"),
    ],
)
def test_convergence_in_words(curves, travel: float, converged: float | None, words: str):
    found = judgement(curves, travel)
    assert found.metrics["converged"] == converged, found.convergence
    assert words in found.convergence


def test_travel_is_of_what_all_steps_allow():
    """A training that is stopped early for its held-out error was not held back by its steps."""
    found = judgement({0.1: [1.0, 0.4, 0.5, 0.6, 0.7]}, 0.9)
    assert found.metrics["travel"] == pytest.approx(0.9 * 10 / 40)
    assert found.metrics["converged"] == 1.0


def test_the_yardstick_is_the_error_in_physical_units():
    """Channels weigh by their variance, and a mean belongs to the field."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(3, 1, 4, 4, generator=generator)
    targets = torch.randn(3, 2, 4, 4, generator=generator)
    module = torch.nn.Conv2d(1, 2, 1)
    statistics = Normalisation(
        name="target",
        system="target",
        samples=3,
        mean={"pi_1": 0.5, "pi_2": 0.0},
        std={"pi_1": 2.0, "pi_2": 0.1},
    )
    measured = Yardstick(statistics, ["pi_1", "pi_2"], 2)
    found = measured.error(module, Samples(inputs, targets), World.single())
    physical = [
        statistics.physical(name, fields[:, place].detach().double().numpy())
        for fields in (module(inputs), targets)
        for place, name in enumerate(("pi_1", "pi_2"))
    ]
    predicted, true = np.stack(physical[:2]), np.stack(physical[2:])
    assert found == pytest.approx(np.mean((predicted - true) ** 2) / np.mean(true**2), rel=1e-6)


# --- In the stage --------------------------------------------------------------------------


def job_of(folder: Path, *overrides: str) -> Job:
    return Job(case=make_case(folder, CHOSEN, *overrides), world=World.single(), out=folder)


def prepared(folder: Path, *overrides: str) -> Job:
    """A case whose base model is trained."""
    folder.mkdir(exist_ok=True)
    job = job_of(folder, *overrides)
    write_datasets(job.case, folder, job.world)
    train.run(job)
    return job


def records(job: Job) -> dict[str, ModelRecord]:
    return {str(key): read_model(job.model(key)).record for key in job.case.transfer_models}


def digests(job: Job) -> dict[str, str]:
    return {str(key): read_model(job.model(key)).digest for key in job.case.transfer_models}


def test_what_a_model_says_of_its_choice(tmp_path: Path):
    job = prepared(tmp_path, *TWO, "transfer.epochs=6", "transfer.batch_size=2")
    told = "\n".join(transfer.plan(job))
    assert "9 trainings ahead of each of 2 models (rates 0.005, 0.01, 0.02; 3 fold(s))" in told
    transfer.run(job)
    found = records(job)
    for name in ("l01", "l03"):
        record, choice = found[name], found[name].choice
        assert record.resolved.recipe == "chosen"
        assert choice is not None
        assert choice.points == list(range(13)) and choice.held_out == 3
        assert min(choice.curve) <= choice.error <= 1.001 * min(choice.curve)
        assert choice.error == record.metrics["validation_error"]
        assert record.metrics["rate"] == choice.rate
        assert record.metrics["steps"] == choice.steps
        assert record.history.steps[-1:] == [choice.steps][: choice.steps]
        assert bool(record.retrained) == (choice.steps > 0)
    assert found["scale"].choice is None and found["scale"].resolved.recipe == ""
    assert found["scale"].metrics["validation_error"] > 0.0
    assert not list(job.out.rglob("*.choice.json")), "left behind"
    evaluate.run(job)
    summary = read_summary(job.out / "evaluation.json")
    errors = {name: record.metrics["validation_error"] for name, record in found.items()}
    assert summary.validation_error == errors
    assert (summary.best_by, summary.best) == (
        "validation",
        min(("l01", "l03"), key=lambda n: errors[n]),
    )


def test_matched_models_beside_chosen_ones(tmp_path: Path):
    both = 'transfer.recipes=["matched", "chosen"]'
    job = prepared(tmp_path, *TWO, "transfer.epochs=2", both)
    names = [str(key) for key in job.case.transfer_models]
    assert names == ["l01", "l03", "scale", "l01,recipe=matched", "l03,recipe=matched"]
    transfer.run(job)
    matched = records(job)["l01,recipe=matched"]
    assert matched.choice is None and matched.metrics["validation_error"] is None
    assert (matched.metrics["steps"], matched.metrics["rate"]) == (2, 0.01)
    evaluate.run(job)
    table = read_table(job.out / "evaluation.csv")
    found = dict(zip(table.column("model"), table.column("recipe"), strict=True))
    assert found == {
        "base": "", "scale": "", "l01": "chosen", "l03": "chosen",
        "l01,recipe=matched": "matched", "l03,recipe=matched": "matched",
    }  # fmt: skip
    told = zip(*(table.column(n) for n in ("model", "steps", "held_out_error", "converged")),
               strict=True)  # fmt: skip
    numbers = {model: [float(n) if n else None for n in rest] for model, *rest in told}
    for name, record in records(job).items():
        of_model = [record.metrics.get(n) for n in ("steps", "validation_error", "converged")]
        assert numbers[name] == of_model, "the table says of a model what its file says"
    assert numbers["l01"][1] and numbers["base"] == [None, None, None]
    summary = read_summary(job.out / "evaluation.json")
    assert sorted(summary.measured_ranking) == ["l01", "l03"]
    alone = job_of(tmp_path, *TWO, 'transfer.recipes=["matched"]')
    assert [str(key) for key in alone.case.transfer_models] == ["l01", "l03", "scale"]


def test_of_one_sample_nothing_is_chosen(tmp_path: Path):
    job = prepared(tmp_path, *TWO, "transfer.samples=1", "transfer.epochs=2", "advise.samples=1")
    assert any("nothing can be held out of one sample" in line for line in transfer.plan(job))
    transfer.run(job)
    record = records(job)["l01"]
    assert (record.metrics["steps"], record.metrics["rate"]) == (2, 0.01)
    assert record.metrics["validation_error"] is None and record.choice is None
    assert "nothing can be held out of one sample" in record.convergence
    evaluate.run(job)
    summary = read_summary(job.out / "evaluation.json")
    assert (summary.best_by, summary.best) == ("test", summary.measured_ranking[0])


def test_models_that_blow_up_name_the_rate_a_line_each(tmp_path: Path):
    one = *TWO, "transfer.samples=1", "advise.samples=1"
    prepared(tmp_path, *one)
    for rate in ("rates=[1e30]", "learning_rate=1e30"):
        with pytest.raises(BlewUp) as error:
            transfer.run(replace(job_of(tmp_path, *one, f"transfer.{rate}"), fresh=True))
        assert "l01: training: " in str(error.value) and "(1 more did likewise)" in str(error.value)
        (other,) = error.value.more
        for line in (str(error.value), other):
            assert f"the rate was 1e+30, lower transfer.{rate.split('=')[0]}, or" in line
            assert len(line) < 240 and "\n" not in line
        first, second = in_lines(error.value).splitlines()
        assert second.startswith("  also: l03: training: ")
        assert Outcome(3, in_lines(error.value)).line == first
    with pytest.raises(BlewUp, match=r"any of the rates 1e\+29, 1e\+30; lower transfer\.rates \(1"):
        transfer.run(replace(job_of(tmp_path, *TWO, "transfer.rates=[1e29, 1e30]"), fresh=True))


@pytest.mark.parametrize("after", [0, 4, 8])
def test_interrupted_in_the_choice_it_ends_with_the_same_bits(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job = prepared(tmp_path, *TWO, "transfer.epochs=4")
    transfer.run(job)
    calm = digests(job)
    for key in job.case.transfer_models:
        job.model(key).unlink()
    tried, done = Search._tried, []

    def until(self: Search, *arguments: object) -> object:
        if len(done) == after and not any(what == "killed" for what in done):
            done.append("killed")
            raise KeyboardInterrupt
        done.append("tried")
        return tried(self, *arguments)

    monkeypatch.setattr(Search, "_tried", until)
    with pytest.raises(KeyboardInterrupt):
        transfer.run(job_of(tmp_path, *TWO, "transfer.epochs=4"))
    transfer.run(job_of(tmp_path, *TWO, "transfer.epochs=4"))
    assert digests(job) == calm
    assert done.count("tried") == 2 * 9, "a training that was finished was done again"


def without_digests(record: ModelRecord) -> dict[str, object]:
    """What a model says, but for what names the files that it is made from."""
    told = record.model_dump()
    assert told["provenance"].pop("dataset") and "base" in told["resolved"]
    told["resolved"]["base"] = ""
    return told


def test_test_members_have_no_part_in_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Other numbers in those of both systems: the base model, the advice and all re-trained models
    are the same but for the digests of the files that they name, and the evaluation is another."""
    kept: Fields = synthetic.fields
    mine = *TWO, "transfer.epochs=4", "transfer.seeds=2"

    def poisoned(n: int, peak: float, key: tuple[int, ...]) -> dict[str, np.ndarray]:
        return kept(n, peak, (*key, 99) if key[1] >= 3 else key)

    found = []
    for name, fields in (("clean", kept), ("poisoned", poisoned)):
        monkeypatch.setattr(synthetic, "fields", fields)
        job = prepared(tmp_path / name, *mine)
        tests = [job.case.test_members(system) for system in ("base", "target")]
        assert [[block.member for block in blocks] for blocks in tests] == [[3], [3, 4]]
        for stage in (advise, transfer, evaluate):
            stage.run(job)
        keys = (ModelKey(), *job.case.transfer_models)
        models = {str(key): read_model(job.model(key)) for key in keys}
        advice = read_advice(job.out / "advice.json", job.case.layer_names)
        values = {name: score.values for name, score in advice.scores.items()}
        summary = read_summary(job.out / "evaluation.json")
        found.append((models, (values, advice.ranking, advice.reason), summary))
    (models, advised, before), (others, advised_there, after) = found
    for name, model in models.items():
        assert model.weights.keys() == others[name].weights.keys()
        for tensor, array in model.weights.items():
            assert np.array_equal(array, others[name].weights[tensor]), f"{name}: {tensor}"
        told, other = (without_digests(each.record) for each in (model, others[name]))
        assert told == other, name
    assert advised == advised_there
    assert before.validation_error == after.validation_error
    assert before.best == after.best and before.convergence == after.convergence
    for system in ("base", "target"):
        assert before.models["l01"][system] != after.models["l01"][system], "it was not poisoned"


def test_a_linear_filter_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Π is a filter of ω that no base model knows: one layer of a linear network finds it."""
    kept: Fields = synthetic.fields

    def filtered(n: int, peak: float, key: tuple[int, ...]) -> dict[str, np.ndarray]:
        fields = kept(n, peak, key)
        omega = fields["omega"]
        across = 1.5 if peak == synthetic.PEAK["target"] else 0.5
        neighbours = np.roll(omega, 1, -1) + np.roll(omega, -1, -1)
        fields["pi"] = omega + across * (neighbours - 2.0 * omega) - 0.5 * np.roll(omega, 1, -2)
        return fields

    monkeypatch.setattr(synthetic, "fields", filtered)
    job = prepared(
        tmp_path,
        f'network={{kind="user", path="{LINEAR}", class="Linear"}}',
        'transfer.layers=["l01"]',
        'transfer.controls=["all", "scale"]',
        "transfer.samples=6",
        "transfer.epochs=100",
        "transfer.folds=2",
        "transfer.rates=[0.05, 0.15, 0.4]",
        "training.rotations=false",
        "training.epochs=60",
        "training.learning_rate=0.02",
    )
    transfer.run(job)
    evaluate.run(job)
    summary = read_summary(job.out / "evaluation.json")
    for name in ("l01", "all"):
        assert summary.validation_error[name] < 1e-3
        assert summary.models[name]["target"]["error"].mean < 1e-3
    assert summary.models["scale"]["target"]["error"].mean > 0.01, "a scale alone would do"
    assert ModelKey.parse(summary.best or "").layers == ("l01",)


def test_a_target_of_another_amplitude_is_repaired_by_one_factor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of both systems Π is what the base model's own filter makes of ω, up to a factor: it leaves
    nothing, and the page says so."""
    sizes, drawn = {"0.weight": (4, 1, 3, 3), "1.weight": (1, 4, 1, 1)}, torch.Generator()
    weights = {name: torch.randn(size, generator=drawn) for name, size in sizes.items()}
    save_file(weights, tmp_path / "known.safetensors")
    more = 'inputs=["omega"], settings={inputs=1}, weights="known.safetensors"'
    network = f'network={{kind="user", path="{LINEAR}", class="Linear", {more}}}'
    kept: Fields = synthetic.fields
    words = network, 'transfer.layers=["l01"]', "training.epochs=0", "training.rotations=false"
    case = make_case(tmp_path, *words)
    base = build(case.network, case.channels, (0,), case.network_grid)

    def filtered(n: int, peak: float, key: tuple[int, ...]) -> dict[str, np.ndarray]:
        fields = kept(n, peak, key)
        with torch.no_grad():
            given = torch.from_numpy(fields["omega"][None, None]).float()
            fields["pi"] = 7.0 * base(given)[0, 0].double().numpy()
        return fields

    monkeypatch.setattr(synthetic, "fields", filtered)
    controls = 'transfer.controls=["scale", "three_scales"]'
    job = prepared(tmp_path, *words, "transfer.epochs=1", controls)
    transfer.run(job)
    evaluate.run(job)
    monkeypatch.setattr("eddyscope.report.figures.SECTIONS", {})  # drawing is slow
    report.run(job)
    models = read_summary(tmp_path / "evaluation.json").models
    errors = {name: found["target"]["error"].mean for name, found in models.items()}
    assert errors["scale"] < 1e-10 and errors["three_scales"] < 1e-10
    assert errors["base"] > 0.01 and errors["l01"] > 1e-4, "there is something to repair"
    page = (tmp_path / "report" / "index.html").read_text()
    assert "differs from the base by sizes at the most: output × one number, fitted" in page
    assert "so there is nothing for a re-trained layer to add." in page
    assert "<td>nothing left</td>" in page
