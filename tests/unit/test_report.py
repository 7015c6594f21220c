"""The report: what is missing is named, the page stands alone, words and numbers agree."""

from __future__ import annotations

import ast
import errno
import html.parser
import json
import re
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

import synthetic
import synthetic_models
from eddyscope.artefacts import les
from eddyscope.artefacts.advice import Advice, ScoredLayers, as_json
from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.describe import describe
from eddyscope.artefacts.evaluation import Interval
from eddyscope.artefacts.json_part import with_digest
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model_header import ModelFile, read_model_file
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.metrics import METRICS
from eddyscope.parallel.failure import CannotWrite
from eddyscope.parallel.world import World
from eddyscope.report import (
    figures,
    learning_figures,
    limits,
    outcome,
    prediction_figures,
    setting,
    style,
    tables,
)
from eddyscope.report.axes import spread_apart
from eddyscope.report.comparison import compare, in_words, percent
from eddyscope.report.figures import SECTIONS, NotDrawn, draw
from eddyscope.report.results import Absent, Results, gather
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.analyze import STAGE as analyze
from eddyscope.stages.case import Case, load_case
from eddyscope.stages.evaluate import STAGE as evaluate
from eddyscope.stages.job import Job
from eddyscope.stages.les import STAGE as les_stage
from eddyscope.stages.report import STAGE as report
from eddyscope.stages.stage import Stage
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer

REMOTE = re.compile(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#)([^"')>\s]+)""", re.IGNORECASE)


class Page(html.parser.HTMLParser):
    """Collects what the tests look at."""

    def __init__(self, text: str):
        super().__init__()
        self.figures: list[dict[str, Any]] = []
        self.tags: set[str] = set()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.add(tag)
        self.ids.add(found.get("id") or "")
        self.links += [found["href"] or ""] if tag == "a" else []
        if tag == "figure":
            self.figures.append({"caption": "", "alt": ""})
        if tag == "img":
            self.figures[-1]["alt"] = found.get("alt") or ""
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if "figcaption" in self.open:
            self.figures[-1]["caption"] += data


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A case with made-up models, evaluation and advice, whose numbers the tests know."""
    out = tmp_path_factory.mktemp("out")
    case = synthetic.make_case(out)
    world = World.single()
    synthetic.write_datasets(case, out, world)
    synthetic_models.write_models(case, out)
    write_advice(out)
    write_closures(out)
    analyze.run(Job(case, world, out))
    return case, out


def write_advice(out: Path) -> None:
    values = {"l01": 2.0, "l02": 3.0, "l03": 1.0}
    good = ScoredLayers(ranking=["l02", "l01", "l03"], values=values)
    bad = ScoredLayers(ranking=["l03", "l01", "l02"], values={k: -v for k, v in values.items()})
    scores = {"good": good, "bad": bad}
    advice = Advice(
        default_score="bad", scores=scores, samples=2, normalisation="dimensional", reason="…"
    )
    (out / "advice.json").write_text(as_json(advice))
    evaluation = json.loads((out / "evaluation.json").read_text())
    evaluation["score_card"] = {"good": {"spearman": 1.0}, "bad": {"spearman": -0.5}}
    (out / "evaluation.json").write_text(with_digest(evaluation))


def write_closures(out: Path) -> None:
    """Filtered DNS, no closure (one of its two runs blew up), and a model."""
    records, bins = np.arange(5.0), 9
    for name, reached in (("dns", (5, 5)), ("none", (5, 3)), ("l02", (5, 5))):
        runs = [
            les.MemberStatistics(
                time=records,
                energy=np.ones(count),
                enstrophy=np.ones(count),
                energy_spectrum=np.ones(7),
                vorticity_pdf=np.ones(bins),
                omega=np.ones((1, 16, 16)),
            )
            for count in reached
        ]
        attributes = {
            "case_name": "synthetic",
            "closure": name,
            "model": name if name == "l02" else "",
        }
        les.write_les(
            out / f"les/{name}.h5", (3, 4), runs, np.linspace(-4, 4, bins + 1), attributes
        )


@pytest.fixture(scope="module", name="gathered")
def _gathered(made: tuple[Case, Path]) -> Results:
    case, out = made
    return gather(out, case.resolved(), case.flows)


def job(case: Case, out: Path) -> Job:
    return Job(case, World.single(), out)


@pytest.fixture(scope="module", name="real")
def _real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A case that went through the stages from training on, and its report."""
    out = tmp_path_factory.mktemp("real")
    case = synthetic.make_case(out, 'les.closures=["none", "l02"]')
    synthetic.write_datasets(case, out, World.single())
    for stage in (train, advise, transfer, evaluate, analyze):
        stage.run(job(case, out))
    write_closures(out)
    report.run(job(case, out))
    return case, out


@pytest.fixture(name="page")
def _page(real: tuple[Case, Path]) -> str:
    return (real[1] / "report/index.html").read_text(encoding="utf-8")


@pytest.fixture(name="few_pictures")
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw one picture of the dozen: drawing is slow."""
    monkeypatch.setattr(figures, "SECTIONS", {"Learning": (learning_figures.training,)})


def test_the_page_needs_nothing_else(page: str) -> None:
    assert REMOTE.findall(page) == []
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object"} & parsed.tags
    assert "@import" not in page and "@font-face" not in page
    assert parsed.open == [], "unclosed elements"


def test_every_link_leads_somewhere(page: str) -> None:
    parsed = Page(page)
    assert parsed.links
    assert {link.removeprefix("#") for link in parsed.links} <= parsed.ids


def test_every_picture_is_drawn_and_has_words(page: str, real: tuple[Case, Path]) -> None:
    parsed = Page(page)
    pictures = sorted((real[1] / "report").glob("*.png"))
    wanted = sum(len(functions) for functions in SECTIONS.values())
    assert "Not drawn" not in page
    assert len(parsed.figures) == len(pictures) == wanted
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    for figure in parsed.figures:
        assert len(figure["alt"]) > 30
        assert len(figure["caption"]) > 100


def test_the_page_of_a_complete_case_misses_nothing(page: str) -> None:
    text = " ".join(Page(page).words)
    assert "Nothing: every artefact of the case is there." in text
    assert "Not known" not in text


def test_an_empty_folder_is_reported_as_such(tmp_path: Path, capsys: Any) -> None:
    case = synthetic.make_case(tmp_path)
    out = tmp_path / "nothing"
    report.run(job(case, out))
    page = (out / "report/index.html").read_text(encoding="utf-8")
    for artefact in ("base/dataset.h5", "target/dataset.h5", "models/base.safetensors"):
        assert artefact in page
    for stage in ("dns", "train", "transfer", "advise", "evaluate", "analyze", "les"):
        assert f"<code>eddyscope {stage}" in page
    assert "Whether re-training helped cannot be said" in page
    assert Page(page).figures == []
    assert page.count("Not drawn") == sum(len(f) for f in SECTIONS.values())
    assert "no table of layers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("analysis.h5", "analysis.h5: not there; make it with  eddyscope analyze"),
        ("advice.json", "Not known: there is no advice."),
        ("evaluation.json", "No table of layers: evaluation.json is missing or unusable."),
        ("target/dataset.h5", "Whether the target is resolved cannot be said"),
        ("models/base.safetensors", "Not drawn, since the model base is missing"),
    ],
)
def test_a_missing_piece_is_named(
    made: tuple[Case, Path], tmp_path: Path, few_pictures: None, piece: str, words: str
) -> None:
    case, out = made
    partial = link_all_but(out, tmp_path, piece, "analysis.h5")
    report.run(job(case, partial))
    text = " ".join(Page((partial / "report/index.html").read_text(encoding="utf-8")).words)
    assert words in text


def link_all_but(out: Path, folder: Path, *pieces: str) -> Path:
    for path in out.rglob("*"):
        relative = path.relative_to(out)
        if path.is_file() and str(relative) not in pieces and relative.parts[0] != "report":
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            (folder / relative).symlink_to(path)
    return folder


DAMAGED = [
    "base/dataset.h5",
    "target/dataset.h5",
    "models/base.safetensors",
    "models/transfer/l02.safetensors",
    "advice.json",
    "evaluation.json",
    "evaluation.h5",
    "analysis.h5",
    "les/dns.h5",
    "status/analyze.json",
]


@pytest.mark.parametrize("content", [None, b"[]", b"", b"{}", b"null", b'{"models": 3}', b"\x00"])
def test_damaged_pieces_are_named_and_do_not_stop_the_report(
    made: tuple[Case, Path], tmp_path: Path, few_pictures: None, content: bytes | None
) -> None:
    """Each of another kind, or (None) cut short."""
    case, out = made
    partial = link_all_but(out, tmp_path, *DAMAGED)
    for piece in DAMAGED:
        (partial / piece).parent.mkdir(parents=True, exist_ok=True)
        (partial / piece).write_bytes(
            (out / piece).read_bytes()[:200] if content is None else content
        )
    report.run(job(case, partial))
    text = " ".join(Page((partial / "report/index.html").read_text(encoding="utf-8")).words)
    for piece in DAMAGED:
        assert f"{piece}: cannot be used (" in text


def test_sound_artefacts_in_each_others_places_are_named(
    made: tuple[Case, Path], tmp_path: Path, few_pictures: None
) -> None:
    case, out = made
    moved = {"les/dns.h5": "evaluation.h5", "evaluation.h5": "analysis.h5"}
    moved["analysis.h5"] = "les/dns.h5"
    partial = link_all_but(out, tmp_path, *moved)
    for place, other in moved.items():
        (partial / place).parent.mkdir(parents=True, exist_ok=True)
        (partial / place).write_bytes((out / other).read_bytes())
    report.run(job(case, partial))
    text = " ".join(Page((partial / "report/index.html").read_text(encoding="utf-8")).words)
    for place in moved:
        assert f"{place}: cannot be used (" in text


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"models": 3}'])
@pytest.mark.parametrize("stage", [analyze, les_stage])
def test_a_wrong_evaluation_is_one_line_to_whoever_reads_it(
    made: tuple[Case, Path], tmp_path: Path, stage: Stage, content: str
) -> None:
    _, out = made
    partial = link_all_but(out, tmp_path, "evaluation.json", "analysis.h5", "status/analyze.json")
    (partial / "evaluation.json").write_text(content)
    case = synthetic.make_case(tmp_path, 'les.closures=["best"]')
    with pytest.raises(CaseError, match="not a usable evaluation") as caught:
        stage.run(job(case, partial))
    assert "\n" not in str(caught.value)


def test_comparison_and_table_agree_with_the_evaluation(gathered: Results) -> None:
    compared = compare(gathered)
    assert compared.best == "l02"
    assert compared.measured[0] == "l02"
    assert compared.removed("l02") == pytest.approx(1 - 0.2 / 0.9)
    worst = compared.error("l03").mean
    assert compared.excess("l03") == pytest.approx(worst / 0.2 - 1)
    assert compared.excess("l02") == 0.0
    table = tables.layer_table(compared)
    assert [row[0].split()[0] for row in table.rows] == [
        "nothing", "l01", "l02", "l03", "scale", "three_scales", "gain", "all", "scratch"
    ]  # fmt: skip
    assert table.best == (2,)
    assert table.header[2] == "against l02"
    assert [row[1:3] for row in table.rows[2:4]] == [("0.200", ""), ("0.500", "+0.300")]
    assert "No intervals: 2 test runs are too few (3 or more)." in table.notes
    assert table.rows[2][-2:] == ("1", "3")  # ranks by the scores "good" and "bad"
    marked = [line for line in table.text().splitlines() if line.startswith("*")]
    assert marked[0].split()[1] == "l02"


def test_every_metric_stands_on_the_page_and_is_defined(gathered: Results, page: str) -> None:
    compared = compare(gathered)
    table = tables.metric_table(compared)
    shown = [name.replace(" ", "_") for name in table.header[1:]]
    assert shown == [name for name in METRICS if name in compared.target["base"]]
    assert len(shown) >= 12
    assert [row[0] for row in table.rows] == [row[0] for row in tables.layer_table(compared).rows]
    base = dict(zip(shown, table.rows[0][1:], strict=True))
    for name in shown:
        assert float(base[name]) == pytest.approx(compared.target["base"][name].mean, abs=5e-4)
    layers = page[page.index("<details><summary>All metrics") :]
    layers = html.unescape(layers[: layers.index("</details>")])
    for name in shown:
        assert f"<dt>{name.replace('_', ' ')}</dt><dd>{METRICS[name]}</dd>" in layers


def test_the_summary_says_what_the_prediction_would_have_cost(gathered: Results) -> None:
    results = gathered
    said = " ".join(outcome.outcome(results))
    cost = 100 * compare(results).excess("l03")
    assert "put l03 first" in said
    assert f"would have left {cost:.0f} % more error" in said
    assert "rank correlation of −0.50" in said
    assert "no closure: 1 of 2 (1.00)" in said
    assert "l02 alone leaves 0.200, 78 % less" in said
    assert "l02 left the least error on each of the 2 test runs" in said
    assert "chosen on the same test runs" in " ".join(limits.limits(results))


def judged(made: tuple[Case, Path], folder: Path, errors: dict[str, float], **how: Any) -> Results:
    """The results with made-up errors in place of the evaluation's."""
    case, out = made
    partial = link_all_but(out, folder, "evaluation.json", "analysis.h5")
    synthetic_models.write_evaluation(partial, errors, **how)
    return gather(partial, case.resolved(), case.flows)


def test_the_best_is_that_of_held_out_samples(made: tuple[Case, Path], tmp_path: Path) -> None:
    """Where the test runs have another, that is told, and how sure it is."""
    errors = {"base": 0.8, "l01": 0.3, "l02": 0.33, "l03": 0.4}
    results = judged(made, tmp_path, errors, members=SIX, best="l02")
    compared = compare(results)
    assert compared.best == "l02" and compared.measured[0] == "l01"
    said = " ".join(outcome.outcome(results))
    assert "The best layer is l02, chosen by its error on target samples held out of" in said
    assert "(on the test runs l01 leaves the least, 0.300 (" in said
    assert outcome.headlines(results)[0].figure == "0.80 → 0.33"
    assert "held-out samples of 3 layers" in outcome.headlines(results)[1].meaning
    table = tables.layer_table(compared)
    assert table.rows[1][2] == "-0.030" and table.best == (2,)
    assert "* of the single layers the least error on target samples held out" in table.text()


def test_the_summary_admits_what_did_not_help(made: tuple[Case, Path], tmp_path: Path) -> None:
    results = judged(made, tmp_path, {"base": 0.5, "l01": 0.6, "scale": 0.45})
    said = " ".join(outcome.outcome(results))
    assert "Re-training one layer did not help: the best, l01, leaves 0.600" in said
    assert "Only l01 was re-trained alone" in said


def test_the_base_model_as_stored_stands_beside_the_renormalised_one(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    """The base model is as its file holds it wherever it is called the base model; under other
    normalisations it has a table and a sentence."""
    errors = {"base": 0.58, "l01": 0.5, "l02": 0.4}
    ways = {"dimensional": 0.38, "base": 0.58, "target": 0.9}
    results = judged(made, tmp_path, errors, renormalised=ways)
    compared = compare(results)
    assert outcome.headlines(results)[0].figure == "0.58 → 0.40"
    said = " ".join(outcome.outcome(results))
    assert "As it is, the base model leaves an error of 0.580 on the" in said
    assert "leaves 0.380 (dimensional), 0.900 (target); re-trained models: dimensional" in said
    assert "The base model normalised by dimensional, not re-trained, does no worse." in said
    table = tables.way_table(compared)
    assert [row[:2] for row in table.rows] == [
        ("base (as it is)", "0.580"),
        ("dimensional", "0.380"),
        ("target", "0.900"),
    ]
    notes = " ".join(tables.layer_table(compared).notes)
    assert "normalised by the base's statistics, with the unit of time changed" in notes
    lines = learning_figures.ranking(results).figure.axes[0].texts
    assert "base model, dimensional 0.380" in [line.get_text() for line in lines]


def test_what_a_layer_adds_to_three_scales(made: tuple[Case, Path], tmp_path: Path) -> None:
    errors = {"base": 0.5, "l01": 0.45, "l02": 0.3, "three_scales": 0.4}
    results = judged(made, tmp_path, errors, spread=0.0)
    table = tables.layer_table(compare(results))
    column = table.header.index("beyond scales")
    assert [row[column] for row in table.rows] == ["", "-12 %", "25 %", ""]
    said = " ".join(outcome.outcome(results))
    assert "fitted to the same samples, leaves 0.400, 50 % of what l02 gains; l02, the" in said
    assert "the best layer, removes 25 % of that." in said
    results = judged(made, tmp_path / "b", {"base": 0.5, "l01": 0.45, "three_scales": 0.4})
    assert "l01, the best layer, adds nothing to that" in " ".join(outcome.outcome(results))
    results = judged(made, tmp_path / "c", {"base": 0.5, "l01": 0.45})
    assert "beyond scales" not in tables.layer_table(compare(results)).header


def test_the_share_of_the_full_gain_stands_in_the_table(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    """Of single layers, with what it is; not where all layers were not re-trained, or gain none."""
    errors = {"base": 0.5, "l01": 0.45, "l02": 0.3, "three_scales": 0.4, "all": 0.25}
    table = tables.layer_table(compare(judged(made, tmp_path, errors)))
    column = table.header.index("of the full gain")
    assert [row[column] for row in table.rows] == ["", "20 %", "80 %", "", ""]
    assert any("of what re-training all layers gains over the base" in n for n in table.notes)
    none = tables.layer_table(compare(judged(made, tmp_path / "b", {**errors, "all": 0.6})))
    assert {row[column] for row in none.rows} == {""}
    del errors["all"]
    table = tables.layer_table(compare(judged(made, tmp_path / "c", errors)))
    assert not any("full gain" in text for text in (*table.header, *table.notes))


def test_a_target_of_another_size_is_said_to_be_repaired_by_one_factor(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    """No share is told of what is left by it, which is rounding."""
    errors = {"base": 0.44, "l01": 0.02, "l02": 0.01, "scale": 1e-11, "three_scales": 2e-12}
    results = judged(made, tmp_path, errors, spread=0.0)
    said = " ".join(outcome.outcome(results))
    assert "The target differs from the base by sizes at the most: output × one number, " in said
    assert "leaves 0.000, so there is nothing for a re-trained layer to add." in said
    assert "scale (output × one number) leaves 0.000, 100 % less" in said
    assert max(int(n) for n in re.findall(r"(\d+) %", said)) <= 100
    table = tables.layer_table(compare(results))
    column = table.header.index("beyond scales")
    assert [row[column] for row in table.rows] == ["", *["nothing left"] * 3, ""]
    assert [row[1] for row in table.rows[3:]] == ["0.000", "0.000"]
    results = judged(made, tmp_path / "b", {**errors, "scale": 0.1}, spread=0.0)
    said = " ".join(outcome.outcome(results))
    assert "sizes at the most: each input and output × one number, fitted to the same" in said


def test_layers_that_end_above_three_scales_are_named(gathered: Results) -> None:
    """Whether or not they had converged; by the samples that were held out."""
    assert gathered.evaluation is not None
    held_out = {"l01": 0.41, "l02": 0.3, "l03": 0.52, "three_scales": 0.4, "scale": 0.6}
    told = {"l01": "converged", "l02": "converged", "l03": "not converged: raise the rates"}
    more = {"validation_error": held_out, "convergence": told}
    results = replace(gathered, evaluation=gathered.evaluation.model_copy(update=more))
    said = " ".join(limits.limits(results))
    assert (
        "leaves 0.400, and these models, although re-trained, leave more: l01 (0.410), l03" in said
    )
    assert "l02 (0.300)" not in said and "scale (" not in said, "which was not re-trained"
    held_out |= {"l01": 0.4, "l03": 0.4}
    assert "although re-trained" not in " ".join(limits.limits(results))


def test_a_re_training_of_little_worth_makes_no_large_percentages(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    """One number removes 40 times as much as the best layer does."""
    results = judged(made, tmp_path, {"base": 0.5, "l01": 0.495, "l02": 0.499, "scale": 0.3})
    said = " ".join(outcome.outcome(results))
    assert "scale (output × one number) leaves 0.300, 40 % less" in said
    assert "(l01 alone: 1.0 % less)" in said
    assert max(int(n) for n in re.findall(r"(\d+) %", said)) <= 100


def test_nothing_is_chosen_among_one_layer(made: tuple[Case, Path], tmp_path: Path) -> None:
    results = judged(made, tmp_path, {"base": 0.5, "l03": 0.4})
    assert results.evaluation is not None
    cost: dict[str, float | None] = {"regret_mse": 0.0}
    controls = {"first_layer": cost, "random": cost}
    results.evaluation = results.evaluation.model_copy(update={"controls": controls})
    said = " ".join(outcome.outcome(results))
    assert "at random" not in said and "Choosing without" not in said


def test_without_single_layers_the_rest_is_still_told(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    results = judged(made, tmp_path, {"base": 0.5, "gain": 0.45, "scale": 0.48})
    said = " ".join(outcome.outcome(results))
    assert "gain (each channel × a factor) leaves 0.450, 10 % less" in said
    assert "scale (output × one number) leaves 0.480" in said
    assert said.count("no single layer was re-trained") == 1
    assert len(tables.layer_table(compare(results)).rows) == 3


def test_a_range_of_no_length_is_left_out() -> None:
    assert in_words(Interval(mean=0.31, low=0.3099999, high=0.3100001)) == "0.310"
    assert in_words(Interval(mean=-1e-9, low=-0.01, high=0.01)) == "0.000 (-0.010 to 0.010)"


def curve(losses: list[float], validation: list[float]) -> ModelFile:
    return ModelFile(Path(), {}, {"history": {"train": losses, "validation": validation}})


FALLING = [0.99**epoch for epoch in range(50)]
LEVEL = [1.0] * 50


@pytest.mark.parametrize(
    ("train_losses", "validation", "fall", "part"),
    [
        (FALLING, [], 1 - 0.99**5, "training"),
        (FALLING, LEVEL, 0.0, "validation"),
        (LEVEL, FALLING, 1 - 0.99**5, "validation"),
        (LEVEL, FALLING[::-1], 1 - 0.99**-5, "validation"),
        ([0.5], [0.5], 0.0, "training"),
        ([], [], 0.0, "training"),
    ],
)
def test_a_loss_that_still_falls_is_measured(
    train_losses: list[float], validation: list[float], fall: float, part: str
) -> None:
    found, whose = limits.fall_of(curve(train_losses, validation))
    assert found == pytest.approx(fall) and whose == part


def test_trainings_that_had_not_converged_are_named_with_the_rule(gathered: Results) -> None:
    models = {
        ModelKey(): curve(FALLING, []),
        ModelKey("l01"): curve(LEVEL, []),
        ModelKey("l02"): curve(FALLING, FALLING),
    }
    said = " ".join(limits.limits(replace(gathered, models=models)))
    assert "base model's training had not converged: its training loss" in said
    assert "for 1 of 2 models (l02): the validation loss" in said
    assert "the last 10 % of the epochs lay more than 2 % below" in said
    settled = dict.fromkeys(models, curve(LEVEL, []))
    assert "converged" not in " ".join(limits.limits(replace(gathered, models=settled)))


def with_convergence(results: Results, **told: str) -> Results:
    assert results.evaluation is not None
    evaluation = results.evaluation.model_copy(update={"convergence": told})
    return replace(results, evaluation=evaluation)


def test_what_the_evaluation_says_of_convergence_is_repeated(gathered: Results) -> None:
    """Its word counts; the training curve where it says nothing."""
    falls = "not converged: the held-out error still fell"
    unknown = "not known: nothing was held out"
    models = dict.fromkeys(map(ModelKey.parse, ("l01", "l01,seed=1", "l02")), curve(FALLING, []))
    told = with_convergence(
        replace(gathered, models=models), l01="converged", l02=falls, l03=falls, gain=unknown
    )
    said = " ".join(limits.limits(told))
    assert "not known to have converged for 3 of 4 models" in said
    assert f"l02, l03: {falls}; gain: {unknown}." in said
    assert "loss was still falling" not in said, "the curve counts though the evaluation speaks"
    settled = with_convergence(replace(gathered, models=models), l01="converged", l02="converged")
    assert "converged" not in " ".join(limits.limits(settled))


def test_the_table_of_layers_says_what_had_not_converged(gathered: Results) -> None:
    words = {"l01": "converged: not finite at rate 0.02", "l02": "not converged: raise the rates",
             "l03": "not known: one sample"}  # fmt: skip
    told = with_convergence(gathered, **words)
    table = tables.layer_table(compare(told))
    column = table.header.index("converged")
    found = {row[0].split(" ")[0]: row[column] for row in table.rows}
    assert [found[name] for name in ("l01", "l02", "l03")] == ["yes", "no", "not known"]
    assert found["nothing"] == "", "the base model was not re-trained"
    assert any(note.startswith("Converged: whether") for note in table.notes)
    assert "converged" not in tables.layer_table(compare(with_convergence(gathered))).header


def test_models_at_equal_rate_and_steps_are_a_comparison_of_their_own(gathered: Results) -> None:
    assert gathered.evaluation is not None
    found = gathered.evaluation
    assert tables.matched_table(compare(gathered)) is None
    names = {f"{name},recipe=matched": name for name in ("l01", "l02")}
    more = {
        "beyond_scales": {
            **found.beyond_scales,
            **{n: found.beyond_scales[of] for n, of in names.items()},
        },
        "models": {**found.models, **{n: found.models[of] for n, of in names.items()}},
        "adapted": {**found.adapted, **{n: found.adapted[of] for n, of in names.items()}},
    }
    compared = compare(replace(gathered, evaluation=found.model_copy(update=more)))
    assert not {*names} & {*compared.layers, *compared.others()}
    table = tables.matched_table(compared)
    assert table is not None
    assert table.header[2] == "beyond scales", "every table says what a layer adds to three scales"
    rows = {row[0]: row[1:4] for row in table.rows}
    assert rows.keys() == {"l01", "l02"} and all(equal == own for equal, _, own in rows.values())
    whole = tables.layer_table(compared)
    (own_row,) = (row for row in whole.rows if row[0] == "l02")
    assert "%" in rows["l02"][1] and rows["l02"][1] == own_row[whole.header.index("beyond scales")]
    of_all = [row[0] for row in tables.layer_table(compared).rows]
    assert not any("matched" in name for name in of_all)


def test_warnings_of_the_run_are_on_the_page(gathered: Results) -> None:
    """Whatever `dns` would warn of is repeated."""
    alike: Any = Alike(gathered.dataset("base"))
    said = limits.limits(replace(gathered, datasets={"base": alike}))
    assert "Base's members 0, 1 and 2, 3 are alike" in " ".join(said)
    warnings = quality(alike).others
    assert {f"{w[0].upper()}{w[1:]}." for w in warnings} <= set(said)
    alike.case = {**alike.case, "imported": alike.case["base"]}
    alike.system = "imported"  # as both systems' may be: the warning names that of the case
    again = limits.limits(replace(gathered, datasets={"base": alike}))
    assert "Base's members 0, 1 and 2, 3 are alike" in " ".join(again)


class Alike:
    """A dataset in which every second member repeats the one before."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def read(self, n: int, name: str, members: list[int], *samples: slice) -> Any:
        return self._dataset.read(n, name, [member - member % 2 for member in members], *samples)


def test_the_report_names_no_kind_of_adaptation() -> None:
    """Roles and words come with the artefacts: a table beside the registry would miss new kinds."""
    kinds = set(ADAPTATIONS) - {"layers"}  # that is a role too
    for path in Path(figures.__file__).parent.glob("*.py"):
        words = {
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & kinds, f"{path.name} names {words & kinds}"


def test_one_test_run_has_no_spread(made: tuple[Case, Path], tmp_path: Path) -> None:
    results = judged(made, tmp_path, {"base": 0.5, "l01": 0.4, "l02": 0.3}, members=(4,))
    said = " ".join([*outcome.outcome(results), tables.layer_table(compare(results)).text()])
    assert "±" not in said and " to 0." not in said and "95 %" not in said
    assert "leaves 0.300, 40 % less" in said
    assert "of one test run" in said and "No intervals: one test run is too few" in said
    assert "cannot be said whether l02 would lead" in said
    caption = learning_figures.ranking(results).caption
    assert "no whiskers, since one test run is too few" in caption


SIX = (3, 4, 5, 6, 7, 8)
ROUGH = np.array([-0.02, 0.03, 0.01, -0.01, 0.02, -0.02])
"""By what the second layer's lead differs from run to run."""


def test_layers_that_cannot_be_told_apart_are_ties(made: tuple[Case, Path], tmp_path: Path) -> None:
    """l01 leads on some runs and not on others; l03 is worse on all, alike, in spite of intervals
    that overlap: runs differ much more than layers do."""
    errors = {"base": 0.8, "l01": 0.405, "l02": 0.4, "l03": 0.43}
    results = judged(made, tmp_path, errors, members=SIX, spread=0.2, noise={"l01": ROUGH})
    compared = compare(results)
    assert compared.best == "l02" and compared.ties == ("l01",)
    table = tables.layer_table(compared)
    lines = table.text().splitlines()
    marks = {n: line[0] for n in compared.layers for line in lines if n in line.split()[:2]}
    assert marks == {"l01": "=", "l02": "*", "l03": " "}
    assert "= cannot be told from l02: the interval of the paired difference includes 0" in (
        table.text()
    )
    against = {row[0]: row[2] for row in table.rows}
    assert against["l03"] == "+0.030", "alike in every run: an interval of no length"
    assert re.fullmatch(r"\+0\.007 \(-0\.0\d\d to \+0\.0\d\d\)", against["l01"])
    low, high = (compared.error("l02").low, compared.error("l03").high)
    assert low is not None and high is not None
    said = " ".join(outcome.outcome(results))
    assert (
        "The best layer is l02, but l02 and l01 cannot be told apart (the 95 % intervals of their "
        "differences from l02, run by run, include 0); the worst, l03, leaves 0.430 (" in said
    )
    assert "In order: l02, l01, l03." in said
    assert "in brackets: 95 % intervals, by resampling the 6 test runs" in said
    chances = re.search(r"the 6 test runs, the least error of all layers is that of: ([^.]+)", said)
    assert chances is not None
    assert re.fullmatch(r"l02 in \d\d %, l01 in \d\d %", chances[1]), "l03 never leads"
    cards = {card.figure: card.meaning for card in outcome.headlines(results)}
    assert cards["l02"] == "left the least error of 3 layers; not to be told from l01"
    picture = learning_figures.ranking(results)
    assert "l02, the best, is filled; l01, hatched, cannot be told from it" in picture.caption
    assert "Whiskers are 95 % intervals, made by resampling the 6 test runs;" in picture.caption
    bars, cells = picture.figure.axes[:2]
    assert [bool(bar.get_hatch()) for bar in bars.patches[:3]] == [True, False, False]
    ranks = [text.get_text() for text in cells.texts[:3]]
    assert ranks[2] == "3" and ranks[0] > ranks[1] > "1"


def test_an_advice_that_is_tied_with_the_best_is_not_called_wrong(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    """The advice is l03."""
    errors = {"base": 0.8, "l01": 0.43, "l02": 0.4, "l03": 0.405}
    results = judged(made, tmp_path, errors, members=SIX, noise={"l03": ROUGH})
    said = " ".join(outcome.outcome(results))
    assert "put l03 first, which cannot be told from the best, l02; on these test runs" in said
    cards = [card.meaning for card in outcome.headlines(results)]
    assert any("no more than chance may give" in meaning for meaning in cards)


def test_what_a_rank_correlation_can_reach_is_said(made: tuple[Case, Path], tmp_path: Path) -> None:
    errors = {"base": 0.8, "l01": 0.43, "l02": 0.4, "l03": 0.405}
    results = judged(made, tmp_path, errors, members=SIX)
    assert results.evaluation is not None
    card = {"spearman": -0.5, "spearman_low": -1.0, "spearman_high": 0.5}
    changed = {"score_card": {"bad": card}, "rank_ceiling": 0.625}
    results.evaluation = results.evaluation.model_copy(update=changed)
    said = " ".join(outcome.outcome(results))
    assert "rank correlation of −0.50" in said
    assert "With the order of single draws it is −1.00 to 0.50 (95 %)" in said
    assert "two draws agree with each other by 0.62 on average" in said


def test_a_gain_that_may_be_none_is_called_that(made: tuple[Case, Path], tmp_path: Path) -> None:
    """A base model that learnt nothing, and a re-training that changes as little."""
    errors = {"base": 0.98, "l01": 0.979, "l02": 0.985, "three_scales": 0.981}
    noise = {"l01": 0.5 * ROUGH}
    results = judged(made, tmp_path, errors, members=SIX, noise=noise)
    said = " ".join(outcome.outcome(results))
    assert "The interval of that share includes 0, so it may be no gain at all." in said
    assert "An error of 0.98 is still close to that of predicting nothing." in said
    assert "adds nothing" not in said and "which may be chance." in said, "to three scales"
    results = judged(made, tmp_path / "b", {"base": 0.98, "l01": 0.95}, members=SIX)
    said = " ".join(outcome.outcome(results))
    assert "it may be no gain" not in said
    assert "An error of 0.95 is still close to that of predicting nothing." in said


def test_repeats_are_resampled_where_there_are_three(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    errors = {"base": 0.8, "l01": 0.45, "l02": 0.4}
    several = {f"{n},seed={s}": errors[n] + 0.01 * s for n in ("l01", "l02") for s in (1, 2)}
    results = judged(made, tmp_path, {**errors, **several}, members=SIX)
    compared = compare(results)
    of = [compared.error(name).of for name in ("base", "l02")]
    assert of == ["members", "members and repeats"]
    assert compared.resampled == "the 6 test runs and the 3 trainings of each layer"
    assert "[0.400 to 0.420]" in tables.layer_table(compared).rows[2][1]
    results = judged(made, tmp_path / "one", {**errors, **several}, members=(3,))
    compared = compare(results)
    assert compared.error("l02").of == "repeats"
    assert compared.resampled == "the 3 trainings of each layer, on these test runs alone"
    assert "This is of one test run" in " ".join(outcome.outcome(results))
    notes = " ".join(tables.layer_table(compared).notes)
    assert "In square brackets: the least and the largest of the repeated trainings." in notes


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([3], "1 run of the target was kept for testing, too few for an interval"),
        ([3, 4], "2 runs of the target were kept for testing, too few for an interval"),
        ([3, 4, 5], "intervals made of so few are rough"),
        ([3, 4, 5, 6, 7], None),
    ],
)
def test_few_test_runs_are_a_limit(
    gathered: Results, members: list[int], words: str | None
) -> None:
    blocks = [SimpleNamespace(whole=True) for _ in members]
    target: Any = SimpleNamespace(parts={"test": blocks}, complete=False)
    said = limits._few_runs(replace(gathered, datasets={"target": target}))
    assert said == [] if words is None else words in said[0]


@pytest.mark.parametrize(
    ("seeds", "times", "words"),
    [(1, "once", "was done once."), (2, "twice", "done 2 times, too few"), (3, "3 times", "")],
)
def test_how_often_trainings_were_repeated_is_told(
    tmp_path: Path, seeds: int, times: str, words: str
) -> None:
    """A case has one base model, whatever the number of re-trainings; a study has several."""
    case = synthetic.make_case(tmp_path, f"transfer.seeds={seeds}", "training.seed=41")
    results = gather(tmp_path, case.resolved(), case.flows)
    *others, last = limits.limits(results)
    assert last.startswith("There is one base model: how much depends on the seed of its training")
    told = [sentence for sentence in others if "re-training was done" in sentence]
    assert [words in sentence for sentence in told] == [True] * bool(words)
    said = " ".join(setting.setting(results))
    seeds_told = "41 for the base training, 3 for the re-training"
    assert f"{seeds_told}. Every re-training was done {times}." in said


def test_layers_that_leave_the_same_error_are_not_ranked(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    results = judged(made, tmp_path, {"base": 0.5, "l01": 0.4, "l02": 0.4, "l03": 0.4})
    said = " ".join(outcome.outcome(results))
    assert "All 3 layers leave the same error: none is better" in said
    assert "In order" not in said
    assert tables.layer_table(compare(results)).best == ()
    assert [headline.figure for headline in outcome.headlines(results)][1] == "none"


def test_a_lead_on_some_runs_is_called_that(made: tuple[Case, Path], tmp_path: Path) -> None:
    results = judged(made, tmp_path, {"base": 0.5, "l01": 0.4, "l02": 0.41})
    tree = results.trees["evaluation"]
    tree["target"]["error"].loc[{"model": "l02", "member": 3}] = 0.1
    said = " ".join(outcome.outcome(results))
    assert "better on single test runs of the 2: l02 on 1" in said


@pytest.mark.parametrize("values", [{"l01": 0.0, "l02": 0.0, "l03": 0.0}])
def test_a_score_that_tells_nothing_apart_advises_nothing(
    made: tuple[Case, Path], tmp_path: Path, values: dict[str, float]
) -> None:
    case, out = made
    partial = link_all_but(out, tmp_path, "advice.json", "analysis.h5")
    layers = list(values)
    flat = ScoredLayers(ranking=layers, values=values, ties=[layers])
    advice = Advice(
        default_score="flat", scores={"flat": flat}, samples=2, normalisation="base", reason="Why."
    )
    (partial / "advice.json").write_text(as_json(advice))
    results = gather(partial, case.resolved(), case.flows)
    said = " ".join(outcome.outcome(results))
    assert "told no layer from another, so there was no advice. Why." in said
    assert "first" not in said.split("Before any re-training")[1].split(".")[0]
    assert all(row[-1] == "" for row in tables.layer_table(compare(results)).rows)
    cards = {card.meaning: card.figure for card in outcome.headlines(results)}
    told = "predicted beforehand: the score “flat” tells no layer from another"
    assert cards[told] == "none"
    assert not any("following it" in meaning for meaning in cards)


def test_a_base_model_that_learnt_nothing_is_called_that(
    made: tuple[Case, Path], tmp_path: Path
) -> None:
    results = judged(made, tmp_path, {"base": 0.98, "l01": 0.97, "l02": 0.96})
    said = " ".join(setting.setting(results))
    assert "error of 0.98" in said and "learnt next to nothing" in said
    assert "trained for 3 epochs, where the case says 4" in said


def test_every_term_of_a_flow_and_every_seed_is_named(tmp_path: Path) -> None:
    case = synthetic.make_case(
        tmp_path,
        "base.flow.beta=2.5",
        "base.flow.drag=0.125",
        "base.flow.hyperviscosity={coefficient=1e-9, order=4}",
        "base.flow.friction={coefficient=0.3, order=1}",
        'target.flow.forcing={kind="ring", wavenumber=6, energy_input=0.75}',
        "seed=17",
    )
    results = gather(tmp_path, case.resolved(), case.flows)
    said = " ".join(setting.setting(results))
    assert "flow.beta 2.5 → 0; " in said and "flow.friction.coefficient 0.3 → none" in said, said
    assert "filter." not in said
    for words in ("β = 2.5", "drag 0.125", "1e-09", "friction", "0.3", "energy input 0.75", "17"):
        assert words in said, said
    table = tables.flow_table(results)
    assert ("flow.beta", "2.5", "0") in table.rows
    assert ("flow.forcing.energy_input", "–", "0.75") in table.rows


def test_a_shift_of_the_filter_alone_is_named(tmp_path: Path) -> None:
    case = synthetic.make_case(tmp_path, 'target.filter={kind="box", n=[16]}')
    said = " ".join(setting.setting(gather(tmp_path, case.resolved(), case.flows)))
    assert "filter.kind gaussian → box" in said
    case = synthetic.make_case(tmp_path)
    results = gather(tmp_path, case.resolved(), case.flows)
    both = {**results.case, "target": results.case["base"]}
    same = " ".join(setting.setting(replace(results, case=both)))
    assert "Base and target have the same settings of: flow, filter." in same


BASE_ALONE = synthetic.CASE[: synthetic.CASE.index("[target.flow]")]
BASE_ALONE += synthetic.CASE[synthetic.CASE.index("[network]") :]


@pytest.mark.parametrize("system", ["imported", "base"])
def test_of_a_dataset_that_is_named_the_report_says_what_it_says(
    gathered: Results, system: str
) -> None:
    """Defaults of the case are no facts of data that it did not make."""
    held = gathered.datasets["base"]
    dataset: Any = SimpleNamespace(
        system=system, ensemble=held.ensemble, count=held.count, filter_width={16: 0.5}
    )
    section = {**gathered.case["base"], "dataset": "base.h5", "flow": None}
    case = {**gathered.case, "base": section}
    named = replace(gathered, case=case, datasets={**gathered.datasets, "base": dataset})
    found = setting.flow_settings(named, "base")
    assert found["dataset"] == "base.h5"
    assert found["filter width, n = 16"] == "0.5"
    assert found["ensemble.members"] == str(held.members)
    assert found["test"] == f"{held.count('test')} samples"
    assert ("ensemble.diagnostics" in found) == (system == "base"), "another case's own"
    shown = setting.shown_case(named)
    assert list(shown["base"]["ensemble"]) == ["split"]
    assert "filter" in shown, "of the target, which is simulated"
    both = {**case, "target": {**gathered.case["target"], "dataset": "target.h5"}}
    assert "filter" not in setting.shown_case(replace(named, case=both))
    assert "diagnostics" in gathered.case["base"]["ensemble"], "what is given stays as it is"


def test_a_training_of_one_epoch_is_drawn_without_a_warning(gathered: Results) -> None:
    """A curve of one point is no curve, so a legend would have nothing to name."""
    short = {
        key: replace(model, metadata={**model.metadata, "history": {"train": [1.0]}})
        for key, model in gathered.models.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = draw(learning_figures.training, replace(gathered, models=short))
    assert isinstance(drawn, figures.Drawn)


def test_the_legend_of_spectra_lies_on_no_curve(gathered: Results) -> None:
    picture = prediction_figures.spectra(gathered)
    picture.png()
    legend = picture.figure.legends[0].get_window_extent()
    for panel in picture.figure.axes:
        assert panel.get_legend() is None
        assert not panel.get_window_extent().overlaps(legend)


@pytest.mark.parametrize("with_data", [False, True])
def test_a_case_with_the_base_alone(
    made: tuple[Case, Path], tmp_path: Path, with_data: bool
) -> None:
    path = tmp_path / "alone.toml"
    path.write_text(BASE_ALONE)
    out = tmp_path / "out"
    if with_data:
        (out / "base").mkdir(parents=True)
        (out / "base/dataset.h5").symlink_to(made[1] / "base/dataset.h5")
        (out / "models").mkdir()
        (out / "models/base.safetensors").symlink_to(made[1] / "models/base.safetensors")
    report.run(job(load_case(path), out))
    page = (out / "report/index.html").read_text(encoding="utf-8")
    text = " ".join(Page(page).words)
    assert "the case has no [target] system" in text
    assert "[target]: the case has no such system" in text
    assert "dns --system target" not in text
    assert "eddyscope transfer  needs a [target] system" in text
    drawn = len(Page(page).figures)
    assert drawn == (4 if with_data else 0)  # three of the flow, and the base model's training


def test_a_full_disk_leaves_no_half_report(
    made: tuple[Case, Path], tmp_path: Path, few_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, out = made
    partial = link_all_but(out, tmp_path, "analysis.h5")
    report.run(job(case, partial))
    before = {path.name: path.read_bytes() for path in (partial / "report").iterdir()}

    def full(self: Path, content: bytes) -> int:
        with open(self, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CannotWrite, match=r"training\.png: cannot be written \(No space left"):
        report.run(job(case, partial))
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in (partial / "report").iterdir()} == before


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, few_pictures: None) -> None:
    case = synthetic.make_case(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report").write_text("a file in the folder's place")
    with pytest.raises(CaseError, match="cannot write here") as caught:
        report.run(job(case, out))
    assert "\n" not in str(caught.value)


def test_pictures_of_an_earlier_report_go(tmp_path: Path, few_pictures: None) -> None:
    case = synthetic.make_case(tmp_path)
    out = tmp_path / "out"
    (out / "report").mkdir(parents=True)
    (out / "report/old.png").write_bytes(b"")
    report.run(job(case, out))
    assert [path.name for path in (out / "report").iterdir()] == ["index.html"]


def test_markup_in_what_is_read_is_shown_as_text(tmp_path: Path, few_pictures: None) -> None:
    case = synthetic.make_case(tmp_path)
    out = tmp_path / "out"
    folder = out / "models/transfer"
    folder.mkdir(parents=True)
    (folder / "<script>x.safetensors").write_bytes(b"")
    report.run(job(case, out))
    page = (out / "report/index.html").read_text(encoding="utf-8")
    assert "script" not in Page(page).tags
    assert "&lt;script&gt;x" in page


def test_models_keep_their_colours(made: tuple[Case, Path], tmp_path: Path) -> None:
    """By role and order, whatever their kinds are called."""
    errors = {"base": 0.5, "l02": 0.4, "l02+l03": 0.4, "gain": 0.4, "lora(rank=2)": 0.4}
    results = judged(made, tmp_path, {**errors, "all": 0.3, "scale": 0.45})
    names = ("base", "l02", "l02+l03", "gain", "lora(rank=2)", "all", "scale")
    colours = [style.colour_of(results, ModelKey.parse(name)) for name in names]
    assert colours[1] == colours[2] == style.COLOURS["layers"]
    assert len(set(colours)) == len(names) - 1
    assert style.colour_of(results, ModelKey("gain", seed=1)) == colours[3]
    assert style.colour_of(results, ModelKey("nobody")) in style.ROLES["control"]


def test_other_adaptations_have_their_rows(made: tuple[Case, Path], tmp_path: Path) -> None:
    lora = "lora(layers=l02,rank=4)"
    results = judged(made, tmp_path, {"base": 0.5, "l02": 0.4, lora: 0.3, "l02+l03": 0.35})
    compared = compare(results)
    assert compared.layers == ("l02",) and compared.best == "l02"
    rows = [row[0] for row in tables.layer_table(compared).rows]
    assert rows == ["nothing (base)", "l02", f"{lora} (rank 4 in l02)", "l02+l03"]


def test_the_page_is_part_of_the_package() -> None:
    """Every file of the package that is no module is named among its data."""
    source = Path(figures.__file__).parents[1]
    project = source.parents[1] / "pyproject.toml"
    named = set(
        tomllib.loads(project.read_text())["tool"]["setuptools"]["package-data"]["eddyscope"]
    )
    files = {path for path in source.rglob("*") if path.is_file()}
    others = {p for p in files if p.suffix != ".py" and p.parent.name != "__pycache__"}
    found = {str(path.relative_to(source)) for path in others}
    assert found == {name for name in named if "*" not in name}, "patterns are of the build's own"


def test_resolution_of_a_known_flow(gathered: Results) -> None:
    results = replace(gathered, datasets=dict(gathered.datasets))
    with pytest.raises(Absent, match="no diagnostics"):
        limits.resolution(results, "base")

    class Known:
        time = np.array([1.0, 2.0])
        system = "base"
        viscosity = 0.01
        case: ClassVar = {"grid": {"n": 32}}

        def diagnostics(self) -> dict[str, Any]:
            return {
                "time": np.array([0.0, 1.0, 2.0]),
                "palinstrophy": np.array([[9e9, 50.0, 50.0]]),
            }

    results.datasets["base"] = Known()  # type: ignore[assignment]
    eta = (0.01**2 / 100.0) ** (1 / 6)  # Re = 100, palinstrophy 50 in the window
    assert limits.resolution(results, "base") == pytest.approx(15 * eta)


def test_labels_are_spread_but_stay_near() -> None:
    places = spread_apart([0.0, 0.01, 0.02, 5.0], 1.0)
    assert np.all(np.diff(places) >= 1.0 - 1e-12)
    assert places[3] == 5.0
    assert np.mean(places[:3]) == pytest.approx(0.01)
    assert spread_apart([], 1.0) == []


def test_a_model_file_is_read_without_torch(made: tuple[Case, Path]) -> None:
    model = read_model_file(made[1] / "models/transfer/l02.safetensors")
    assert model.shapes["l02.weight"] == (6, 6, 3, 3)
    assert model.losses("train") == [1.0, 0.5, 0.25]
    assert model.metadata["key"] == "l02"


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("base/dataset.h5", ["of the base system", "16 of 16 committed", "16 x 16", "all match"]),
        ("analysis.h5", ["eddyscope-analysis-4", "group kernels: all, base", "synthetic"]),
        (
            "models/transfer/l02.safetensors",
            ["re-trained: l02", "dimensional, by", "laplacian(psi)"],
        ),
        ("advice.json", ["l03 > l01 > l02", "by bad"]),
        ("evaluation.json", ["models: base, l01"]),
        ("les/none.h5", ["closure none", "stable (2,)"]),
        ("status/analyze.json", ["status of a step", "complete"]),
    ],
)
def test_info_knows_every_artefact(made: tuple[Case, Path], piece: str, words: list[str]) -> None:
    said = "\n".join(describe(made[1] / piece))
    for word in words:
        assert word in said, said


def test_info_sees_a_flipped_bit(made: tuple[Case, Path], tmp_path: Path) -> None:
    content = bytearray((made[1] / "base/dataset.h5").read_bytes())
    # Fields take most of the file, so its middle is inside one of them.
    content[len(content) // 2] ^= 0x10
    (tmp_path / "dataset.h5").write_bytes(content)
    said = "\n".join(describe(tmp_path / "dataset.h5"))
    assert "1 committed sample(s) do not match" in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.h5", b"nonsense", "not an HDF5 file"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "not a readable artefact"),
        ("a.safetensors", bytes(100), "not a readable safetensors file"),
        ("a.json", b"{", "not readable as JSON"),
        ("a.png", b"\x89PNG", "not an artefact of this program"),
        ("a", b"", "not an artefact of this program"),
    ],
)
def test_info_refuses_what_it_cannot_read(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CaseError, match=words):
        describe(tmp_path / name)


def test_info_refuses_folders_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="a folder"):
        describe(tmp_path)
    with pytest.raises(CaseError, match="no such file"):
        describe(tmp_path / "none.h5")


def test_not_drawn_names_the_purpose(tmp_path: Path) -> None:
    case = synthetic.make_case(tmp_path)
    drawn = draw(SECTIONS["The two flows"][0], gather(tmp_path, case.resolved(), case.flows))
    assert isinstance(drawn, NotDrawn)
    assert drawn.reason == "the base dataset is missing"


@pytest.mark.parametrize(
    ("share", "text"), [(-1e-5, "0"), (-0.0, "0"), (-0.006, "-0.6"), (0.45, "45"), (0.006, "0.6")]
)
def test_percentages_have_no_negative_zero(share, text):
    assert percent(share) == text
