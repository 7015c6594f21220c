"""The report as one HTML page that needs nothing else: images inside it, no scripts, no fonts."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape

from eddyscope.report.figures import Drawn, NotDrawn
from eddyscope.report.results import Results
from eddyscope.report.style import COLOURS
from eddyscope.report.tables import Table

__all__ = ["compose"]

CSS = """
:root { --ink: #1d2429; --soft: #5a6570; --line: #dfe4e8; --tint: #f5f7f9; --accent: #00755a; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0 auto; padding: 3rem 1.5rem 5rem; max-width: 62rem; color: var(--ink);
  background: #fff; font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "DejaVu Sans", sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3.5rem 0 1rem; padding-top: .9rem;
  border-top: 2px solid var(--line); }
h3 { font-size: 1.02rem; margin: 2.2rem 0 .4rem; }
p, li { max-width: 46rem; }
a { color: var(--accent); }
.kicker { color: var(--soft); margin: 0 0 2rem; }
nav { margin: 0 0 2rem; padding: .9rem 1.2rem; background: var(--tint); border-radius: 6px; }
nav ol { margin: 0; padding-left: 1.2rem; columns: 2; column-gap: 2.5rem; }
nav li { break-inside: avoid; }
.summary { border-left: 4px solid var(--accent); padding: .1rem 0 .1rem 1.2rem; }
.summary p { margin: .55rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .9rem;
  margin: 0 0 1.6rem; }
.cards div { background: var(--tint); border-radius: 6px; padding: .8rem 1rem; break-inside: avoid; }
.cards b { display: block; font-size: 1.35rem; line-height: 1.25; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.cards span { color: var(--soft); font-size: .88rem; line-height: 1.35; display: block;
  margin-top: .2rem; }
figure { margin: 1.2rem 0 2.4rem; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line);
  border-radius: 6px; padding: .6rem; background: #fff; }
figcaption { color: var(--soft); font-size: .92rem; line-height: 1.5; margin-top: .6rem;
  max-width: 50rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .55rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { white-space: normal; vertical-align: bottom; line-height: 1.25; font-weight: 600; color: var(--soft); border-bottom-width: 2px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.strong td { font-weight: 700; color: var(--accent); }
.note, .absent { color: var(--soft); font-size: .92rem; }
.absent { background: #fdf6e3; border: 1px solid #ecdcae; border-radius: 6px;
  padding: .6rem .9rem; }
.key span { display: inline-block; margin-right: 1.2rem; }
.key i { display: inline-block; width: .9rem; height: .9rem; border-radius: 3px;
  vertical-align: -.1rem; margin-right: .35rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { background: var(--tint); border-radius: 6px; padding: 1rem; overflow-x: auto;
  font-size: .8rem; line-height: 1.45; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { background: none; padding: 0; } h2 { break-after: avoid; } h3 { break-after: avoid; }
  a { color: inherit; text-decoration: none; } figure img { border: none; padding: 0; }
}
"""

Blocks = Sequence[str]


def compose(
    results: Results,
    headlines: Sequence[tuple[str, str]],
    words: Mapping[str, Sequence[str]],
    table: Table | str,
    drawn: Mapping[str, Sequence[Drawn | NotDrawn]],
    provenance: Mapping[str, object],
) -> str:
    """The page. `headlines` are (figure, what it is); `words` has "setting", "outcome" and "limits"; `table` may be why there is none."""
    sections: dict[str, Blocks] = {
        "Summary": [
            _cards(headlines),
            _paragraphs([*words["setting"], *words["outcome"]], "summary"),
            "<h3>What this case cannot show</h3>",
            _list(words["limits"]),
        ],
        "Layers": [_table(table)],
        **{title: [_picture(item) for item in items] for title, items in drawn.items()},
        "What is missing": [_gaps(results)],
        "Provenance": [_provenance(results, provenance)],
    }
    name = escape(str(results.case["name"]))
    body = "\n".join(
        f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>\n'
        + "\n".join(blocks)
        + "</section>"
        for title, blocks in sections.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: which layers to re-train</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<header><h1>{name}</h1>\n"
        '<p class="kicker">Which layers of a turbulence closure to re-train, and what they learn'
        f"</p></header>\n{_contents(list(sections))}\n{_key()}\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _contents(titles: Sequence[str]) -> str:
    items = "".join(f'<li><a href="#{_anchor(t)}">{escape(t)}</a></li>' for t in titles)
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _key() -> str:
    """What the colours mean, everywhere on the page."""
    meanings = {"base": "base", "target": "target", "transfer": "re-trained", "truth": "truth"}
    items = "".join(
        f'<span><i style="background:{COLOURS[name]}"></i>{text}</span>'
        for name, text in meanings.items()
    )
    return f'<p class="key note">Colours throughout: {items}</p>'


def _cards(headlines: Sequence[tuple[str, str]]) -> str:
    cards = "".join(
        f"<div><b>{escape(figure)}</b><span>{escape(text)}</span></div>"
        for figure, text in headlines
    )
    return f'<div class="cards">{cards}</div>' if cards else ""


def _paragraphs(sentences: Sequence[str], kind: str) -> str:
    inside = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f'<div class="{kind}">{inside}</div>'


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _table(table: Table | str) -> str:
    if isinstance(table, str):
        return f'<p class="absent">No table of layers: {escape(table)}.</p>'
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.header)
    rows = []
    for place, row in enumerate(table.rows):
        kind = ' class="strong"' if place in table.strong else ""
        rows.append(f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    note = f"Bold: {table.strong_means}. " if table.strong else ""
    note += table.note[:1].upper() + table.note[1:]
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        + (f'<p class="note">{escape(note)}.</p>' if note else "")
    )


def _picture(item: Drawn | NotDrawn) -> str:
    if isinstance(item, NotDrawn):
        words = f"Not drawn, since {item.reason}: {item.purpose}."
        return f'<p class="absent">{escape(words)}</p>'
    picture = item.picture
    image = base64.b64encode(item.path.read_bytes()).decode()
    return (
        f"<figure><h3>{escape(picture.title)}</h3>"
        f'<img alt="{escape(picture.alt)}" src="data:image/png;base64,{image}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _gaps(results: Results) -> str:
    if not results.gaps:
        return "<p>Nothing: every artefact of the case is there.</p>"
    return _list([f"{gap}." for gap in results.gaps])


def _provenance(results: Results, provenance: Mapping[str, object]) -> str:
    rows = tuple(
        (
            str(record.get("step", "?")),
            str(record.get("state", "?")),
            str(record.get("ranks", "?")),
            str(record.get("message", "")),
            str(record.get("updated", "")),
            str(record.get("code_version", "?")),
        )
        for record in sorted(results.status, key=lambda r: str(r.get("updated", "")))
    )
    steps = Table(("step", "state", "ranks", "took", "finished (UTC)", "code"), rows)
    facts = _list([f"{key}: {value}" for key, value in provenance.items()])
    case = escape(json.dumps(results.case, indent=1, ensure_ascii=False))
    return (
        f"{_table(steps)}{facts}"
        f"<details><summary>The case, with all defaults</summary><pre>{case}</pre></details>"
    )
