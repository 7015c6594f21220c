"""The report as one HTML page that needs nothing else: images inside it, no scripts, no fonts."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from html import escape

from eddyscope.report.css import CSS
from eddyscope.report.figures import Drawn, NotDrawn
from eddyscope.report.results import Results
from eddyscope.report.style import COLOURS
from eddyscope.report.tables import Table

__all__ = ["compose"]

Blocks = Sequence[str]


def compose(
    results: Results,
    headlines: Sequence[tuple[str, str]],
    words: Mapping[str, Sequence[str]],
    table: Table | str,
    drawn: Mapping[str, Sequence[Drawn | NotDrawn]],
    provenance: Mapping[str, object],
) -> str:
    """The page.

    headlines: (figure, what it is); words: "setting", "outcome" and "limits", sentences of
    each; table: the table of layers, or why there is none.
    """
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


def _inline(text: str) -> str:
    """A sentence: commands in backquotes set as code, numbers kept with their signs."""
    kept = text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(kept))


def _cards(headlines: Sequence[tuple[str, str]]) -> str:
    cards = "".join(
        f"<div><b>{escape(figure)}</b><span>{_inline(text)}</span></div>"
        for figure, text in headlines
    )
    return f'<div class="cards">{cards}</div>' if cards else ""


def _paragraphs(sentences: Sequence[str], kind: str) -> str:
    inside = "".join(f"<p>{_inline(sentence)}</p>" for sentence in sentences)
    return f'<div class="{kind}">{inside}</div>'


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_inline(sentence)}</li>" for sentence in sentences) + "</ul>"


def _table(table: Table | str) -> str:
    if isinstance(table, str):
        return f'<p class="absent">No table of layers: {escape(table)}.</p>'
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.header)
    rows = []
    for place, row in enumerate(table.rows):
        kind = ' class="strong"' if place in table.strong else ""
        rows.append(f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    lines = [f"bold: {table.strong_means}"] if table.strong else []
    note = "; ".join([*lines, *table.note.splitlines()])
    note = note[:1].upper() + note[1:]
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
        f"<figcaption>{_inline(picture.caption)}</figcaption></figure>"
    )


def _gaps(results: Results) -> str:
    if not results.gaps:
        return "<p>Nothing: every artefact of the case is there.</p>"
    return _list([f"{gap}." for gap in results.gaps])


def _provenance(results: Results, provenance: Mapping[str, object]) -> str:
    rows = tuple(
        (
            record.step,
            record.state,
            record.ranks,
            record.message,
            record.updated,
            record.code_version,
        )
        for record in sorted(results.status, key=lambda r: r.updated)
    )
    steps = Table(("step", "state", "ranks", "outcome", "at (UTC)", "code"), rows)
    facts = _list([f"{key}: {value}" for key, value in provenance.items()])
    case = escape(json.dumps(results.case, indent=1, ensure_ascii=False))
    return (
        f"{_table(steps)}{facts}"
        f"<details><summary>The case, with all defaults</summary><pre>{case}</pre></details>"
    )
