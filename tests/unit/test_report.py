"""The report: what is missing is named, the page stands alone, words and numbers agree."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import synthetic
import synthetic_models
from eddyscope.artefacts.model_header import read_model_file
from eddyscope.config.errors import CaseError
from eddyscope.parallel.world import World
from eddyscope.report import figures, learning_figures, outcome, summary, tables
from eddyscope.report.axes import spread_apart
from eddyscope.report.figures import SECTIONS, NotDrawn, draw
from eddyscope.report.findings import find
from eddyscope.report.results import Absent, gather
from eddyscope.stages import analyze, info, report, train, transfer
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.case import Case
from eddyscope.stages.evaluate import STAGE as evaluate
from eddyscope.stages.job import Job
from eddyscope.storage.layout import Variable, write_artefact

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
    ranking = {"good": ["l02", "l01", "l03"], "bad": ["l03", "l01", "l02"]}
    scores = {name: {"ranking": r, "values": {}, "seconds": 1.0} for name, r in ranking.items()}
    advice = {"default_score": "bad", "ranking": ranking["bad"], "scores": scores, "reason": "…"}
    (out / "advice.json").write_text(json.dumps(advice))
    evaluation = json.loads((out / "evaluation.json").read_text())
    evaluation["score_card"] = {"good": {"spearman": 1.0}, "bad": {"spearman": -0.5}}
    (out / "evaluation.json").write_text(json.dumps(evaluation))


def write_closures(out: Path) -> None:
    members, records, bins = 2, 5, 9
    for name, stable in (("dns", [1, 1]), ("none", [1, 0]), ("l02", [1, 1])):
        values = np.ones((members, records))
        values[:, 3:] = np.nan if name == "none" else 1.0
        per_record = ("member", "record")
        variables = {
            "member": Variable(("member",), np.arange(members)),
            "record": Variable(("record",), np.arange(records)),
            "wavenumber": Variable(("wavenumber",), np.arange(1.0, 8.0)),
            "vorticity_bin": Variable(("vorticity_bin",), np.linspace(-4, 4, bins)),
            "time": Variable(per_record, np.tile(np.arange(float(records)), (members, 1))),
            "energy": Variable(per_record, values),
            "enstrophy": Variable(per_record, values),
            "energy_spectrum": Variable(("member", "wavenumber"), np.ones((members, 7))),
            "vorticity_pdf": Variable(("member", "vorticity_bin"), np.ones((members, bins))),
            "stable": Variable(("member",), np.array(stable, dtype="uint8")),
            "blow_up_time": Variable(("member",), np.array([np.nan, 2.5])),
        }
        write_artefact(out / f"les/{name}.h5", variables, {"case_name": "synthetic"})


def job(case: Case, out: Path) -> Job:
    return Job(case, World.single(), out)


@pytest.fixture(scope="module", name="real")
def _real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A case that went through the stages from training on, and its report."""
    out = tmp_path_factory.mktemp("real")
    case = synthetic.make_case(out)
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
    assert "http" not in page.replace("http-equiv", "")
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
    assert "Whether transfer learning helped cannot be said" in page
    assert Page(page).figures == []
    assert page.count("Not drawn") == sum(len(f) for f in SECTIONS.values())
    assert "no table of layers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("analysis.h5", "analysis.h5: not there; make it with  eddyscope analyze"),
        ("advice.json", "Not known: there is no advice."),
        ("evaluation.json", "No table of layers: evaluation.json is missing."),
        ("target/dataset.h5", "Whether the target is resolved cannot be said"),
        ("models/base.safetensors", "Not drawn, since the model base is missing"),
    ],
)
def test_a_missing_piece_is_named(
    made: tuple[Case, Path], tmp_path: Path, few_pictures: None, piece: str, words: str
) -> None:
    case, out = made
    partial = link_all_but(out, tmp_path, piece)
    report.run(job(case, partial))
    text = " ".join(Page((partial / "report/index.html").read_text(encoding="utf-8")).words)
    assert words in text


def link_all_but(out: Path, folder: Path, piece: str) -> Path:
    for path in out.rglob("*"):
        relative = path.relative_to(out)
        if path.is_file() and str(relative) != piece and relative.parts[0] != "report":
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            (folder / relative).symlink_to(path)
    return folder


@pytest.mark.parametrize("piece", ["analysis.h5", "evaluation.json", "models/base.safetensors"])
def test_a_damaged_piece_is_named_and_does_not_stop_the_report(
    made: tuple[Case, Path], tmp_path: Path, few_pictures: None, piece: str
) -> None:
    case, out = made
    partial = link_all_but(out, tmp_path, piece)
    (partial / piece).write_bytes((out / piece).read_bytes()[:200])
    report.run(job(case, partial))
    text = " ".join(Page((partial / "report/index.html").read_text(encoding="utf-8")).words)
    assert f"{piece}: cannot be used (" in text


def test_findings_and_table_agree_with_the_evaluation(made: tuple[Case, Path]) -> None:
    case, out = made
    findings = find(gather(out, case.resolved()))
    assert findings.best == "l02"
    assert findings.measured[0] == "l02"
    assert findings.gain("l02") == pytest.approx(1 - 0.2 / 0.9)
    worst = findings.error("l03").mean
    assert findings.regret("l03") == pytest.approx(worst / 0.2 - 1)
    assert findings.regret("l02") == 0.0
    table = tables.layer_table(findings)
    assert [row[0].split()[0] for row in table.rows] == [
        "nothing", "l01", "l02", "l03", "gain", "all", "scratch", "scale"
    ]  # fmt: skip
    assert table.strong == (2,)
    assert table.rows[2][-2:] == ("1", "3")  # ranks by the scores "good" and "bad"
    marked = [line for line in table.text().splitlines() if line.startswith("*")]
    assert marked[0].split()[1] == "l02"


def test_the_summary_says_what_the_prediction_would_have_cost(made: tuple[Case, Path]) -> None:
    case, out = made
    results = gather(out, case.resolved())
    said = " ".join(outcome.outcome(results))
    cost = 100 * find(results).regret("l03")
    assert "put l03 first" in said
    assert f"cost {cost:.0f} % more error" in said
    assert "rank correlation of −0.50" in said
    assert "no closure: 1 of 2 (1.00)" in said
    assert "l02 alone leaves 0.200 ± 0.010, 78 % less" in said


def test_the_summary_admits_what_did_not_help(made: tuple[Case, Path], tmp_path: Path) -> None:
    case, out = made
    partial = link_all_but(out, tmp_path, "evaluation.json")
    (partial / "evaluation.h5").unlink()
    synthetic_models.write_evaluation(partial, {"base": 0.5, "l01": 0.6, "scale": 0.45})
    said = " ".join(outcome.outcome(gather(partial, case.resolved())))
    assert "Re-training one layer did not help: the best, l01, leaves 0.600" in said
    assert "Only l01 was re-trained alone" in said


def test_resolution_of_a_known_flow(made: tuple[Case, Path], tmp_path: Path) -> None:
    case, out = made
    results = gather(out, case.resolved())
    with pytest.raises(Absent, match="no diagnostics"):
        summary.resolution(results, "base")

    class Known:
        time = np.array([1.0, 2.0])
        system = "base"
        case: ClassVar = {"grid": {"n": 32}, "base": {"flow": {"reynolds": 100.0}}}

        def diagnostics(self) -> dict[str, Any]:
            return {
                "time": np.array([0.0, 1.0, 2.0]),
                "palinstrophy": np.array([[9e9, 50.0, 50.0]]),
            }

    results.datasets["base"] = Known()  # type: ignore[assignment]
    eta = (0.01**2 / 100.0) ** (1 / 6)  # Re = 100, palinstrophy 50 in the window
    assert summary.resolution(results, "base") == pytest.approx(15 * eta)


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
    assert model.metadata["name"] == "l02"


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("base/dataset.h5", ["of the base system", "16 of 16 committed", "16 x 16", "all match"]),
        ("analysis.h5", ["eddyscope-analysis-1", "group kernels: all, base", "synthetic"]),
        ("models/transfer/l02.safetensors", ["re-trained: l02", "target system", "laplacian(psi)"]),
        ("advice.json", ["l03 > l01 > l02", "by bad"]),
        ("evaluation.json", ["models: base, l01"]),
        ("les/none.h5", ["closure none", "stable (2,)"]),
        ("status/analyze.json", ["status of a step", "complete"]),
    ],
)
def test_info_knows_every_artefact(made: tuple[Case, Path], piece: str, words: list[str]) -> None:
    said = "\n".join(info.describe(made[1] / piece))
    for word in words:
        assert word in said, said


def test_info_sees_a_flipped_bit(made: tuple[Case, Path], tmp_path: Path) -> None:
    content = bytearray((made[1] / "base/dataset.h5").read_bytes())
    # Fields take most of the file, so its middle is inside one of them.
    content[len(content) // 2] ^= 0x10
    (tmp_path / "dataset.h5").write_bytes(content)
    said = "\n".join(info.describe(tmp_path / "dataset.h5"))
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
        info.describe(tmp_path / name)


def test_info_refuses_folders_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="a folder"):
        info.describe(tmp_path)
    with pytest.raises(CaseError, match="no such file"):
        info.describe(tmp_path / "none.h5")


def test_not_drawn_names_the_purpose(tmp_path: Path) -> None:
    case = synthetic.make_case(tmp_path)
    drawn = draw(SECTIONS["The two flows"][0], gather(tmp_path, case.resolved()), tmp_path)
    assert isinstance(drawn, NotDrawn)
    assert drawn.reason == "the base dataset is missing"
