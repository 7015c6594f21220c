"""Pictures of a study: which layer, by shift, and error against samples, a panel a shift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eddyscope.artefacts.evaluation import THREE_SCALES, Interval, interval, removed
from eddyscope.artefacts.findings import Measured, Shift
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.role import Role
from eddyscope.artefacts.uncertainty import tied_with
from eddyscope.config.arrays import FloatArray
from eddyscope.report.axes import plain_log
from eddyscope.report.results import Absent
from eddyscope.report.style import COLOURS, ROLES, Picture, Style, canvas, grid_size, words

__all__ = ["STUDY_PICTURES", "layers", "samples"]

WIDEST = 3
"""Panels side by side."""

HEIGHT = 2.3
"""Inches of a panel."""

STYLES: dict[Role, tuple[Style, ...]] = {
    "ceiling": ("-", (0, (5, 2)), (0, (3, 1, 1, 1))),
    "floor": ((0, (1, 1.5)), "-", (0, (3, 1, 1, 1))),
    "control": ((0, (5, 2)),),
}
"""Role of what layers are compared with -> lines of its models, in their order; they begin anew at
the end, as colours do."""

Line = tuple[str, str, Style]
"""Words, colour and line of a model."""

UNTOUCHED: Line = ("base model", COLOURS["base"], (0, (5, 2)))


def layers(shifts: Sequence[Shift]) -> Picture:
    """Error by re-trained layer, over that of three scales, a panel a shift."""
    panels = {
        title: max(each, key=lambda s: (s.repeats, s.samples))
        for title, each in _by_title([s for s in shifts if s.layers]).items()
    }
    if not panels:
        raise Absent("no layer was re-trained alone")
    figure = _panel_grid(panels, partial(_layers_panel, lines=_lines(shifts)))
    caption = words(
        """Error on the target's test members after re-training one layer, first to last, over the
        error that three factors leave (1, where these were fitted; else the error itself). Bars: 95
        % intervals over test members and base models, of the ratio itself, so that what is hard for
        all models drops out; none where there are too few. Filled: the best layer and those that
        cannot be told from it. Lines across: what layers are compared with; one beyond the panel is
        left out. Of each shift that number of samples is shown of which there are most base
        models."""
    )
    alt = "A panel a shift: error by layer, with lines for what layers are compared with."
    return Picture("layers", "Which layer, by shift", caption, alt, figure)


def samples(shifts: Sequence[Shift]) -> Picture:
    """Error against the number of target samples, a panel a shift."""
    panels = {t: _in_common(each) for t, each in _by_title(shifts).items() if len(each) > 1}
    if not panels:
        raise Absent("every shift has one number of target samples")
    figure = _panel_grid(panels, partial(_samples_panel, lines=_lines(shifts)))
    caption = words(
        """Error on the target's test members (the mean square of Π is 1) against the number of
        target samples that models were re-trained on. Bands: 95 % intervals over test members and
        base models; none where there are too few. Means are over those base models that there are
        at every number of samples (all, where there are none such). Thin lines: one layer each,
        from the first (dark) to the last (light). Best layer: that of the least error at the
        largest number of samples, which the panel names."""
    )
    alt = "A panel a shift: lines of error against the number of target samples."
    return Picture("samples", "How much the target samples bring", caption, alt, figure)


Panel = TypeVar("Panel")

STUDY_PICTURES: tuple[Callable[[Sequence[Shift]], Picture], ...] = (layers, samples)


def _by_title(shifts: Sequence[Shift]) -> dict[str, list[Shift]]:
    found: dict[str, list[Shift]] = {}
    for shift in shifts:
        found.setdefault(shift.title, []).append(shift)
    return found


def _in_common(shifts: Sequence[Shift]) -> list[Shift]:
    """At each number of samples, of those repeats that all of them have; as they are where there
    are none such."""
    names = [dict.fromkeys(r for m in shift.models.values() for r in m.repeats) for shift in shifts]
    common = [name for name in names[0] if all(name in each for each in names)]
    return [shift.limited_to(common) for shift in shifts]


def _panel_grid(panels: Mapping[str, Panel], draw: Callable[[Axes, Panel], None]) -> Figure:
    rows, columns = grid_size(len(panels), WIDEST)
    figure, axes = canvas(rows, columns, HEIGHT * rows + 0.6)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    named: dict[str, Artist] = {}
    for panel, (title, content) in zip(axes.flat, panels.items(), strict=False):
        draw(panel, content)
        panel.set_title(_in_lines(title))
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=4)
    return figure


def _in_lines(title: str) -> str:
    """A shift's title on a narrow panel: a line a setting, by the last part of its name."""
    case, *settings = (part.partition(" = ") for part in title.split(", "))
    lines = [f"{name.rpartition('.')[2]} = {value}" for name, _, value in settings]
    return "\n".join([case[0], *lines])


def _layers_panel(axes: Axes, shift: Shift, lines: Mapping[str, Line]) -> None:
    models, best, floor = shift.models, shift.best, shift.models.get(THREE_SCALES)
    found = [_relative(models[name].errors, floor) for name in shift.layers]
    middle = np.array([each.mean for each in found])
    ends = np.array([_ends(each) for each in found])
    places, lengths = np.arange(1, len(found) + 1), np.maximum(ends - middle[:, None], 0.0)
    lengths[:, 0] = np.maximum(middle - ends[:, 0], 0.0)
    axes.errorbar(places, middle, yerr=lengths.T, color=COLOURS["layers"], marker="o",
                  markersize=4.5, markerfacecolor="white", capsize=2, elinewidth=0.9,
                  label="one layer")  # fmt: skip
    tables = {name: models[name].errors for name in shift.layers}
    alike = {best, *(tied_with(tables, best) if best else [])}
    filled = np.array([name in alike for name in shift.layers])
    axes.plot(places[filled], middle[filled], "o", color=COLOURS["layers"], markersize=5.5,
              zorder=5, label="best, or tied with it")  # fmt: skip
    references = [
        (_relative(m.errors, floor).mean, m, line) for m, line in _references(shift, lines)
    ]
    inside = [*ends.ravel(), *(1.0,) * bool(floor)]
    inside += sorted(level for level, model, _ in references if model.role == "ceiling")[:1]
    low, high = np.nanmin(inside), np.nanmax(inside)
    margin = 0.08 * max(high - low, 0.02 * high)
    axes.set_ylim(low - margin, high + margin)
    for level, _, (label, colour, style) in references:
        if low - margin < level < high + margin:
            axes.axhline(level, color=colour, linestyle=style, linewidth=1.3, label=label)
    axes.set_xticks(places, [name.removeprefix("l").lstrip("0") for name in shift.layers])
    axes.set(ylabel="error / three scales" if floor else "error on target")
    axes.set_xlabel(f"layer ({shift.samples} sample{'s' * (shift.samples != 1)})")


def _samples_panel(axes: Axes, shifts: Sequence[Shift], lines: Mapping[str, Line]) -> None:
    amounts, last = [shift.samples for shift in shifts], shifts[-1]
    best, shown = last.best, list(last.layers)
    for place, name in enumerate(shown):
        colour = mpl.colormaps["viridis"](0.92 * place / max(len(shown) - 1, 1))
        _line(axes, shifts, {s.samples: s.models.get(name) for s in shifts}, None, colour, "-", 0.7)
    for name, line in lines.items():
        _line(axes, shifts, {s.samples: s.models.get(name) for s in shifts}, *line, 1.5)
    _line(axes, shifts, {s.samples: s.untouched for s in shifts}, *UNTOUCHED, 1.5)
    if best:
        of_best = {s.samples: s.models.get(best) for s in shifts}
        _line(axes, shifts, of_best, "best layer", COLOURS["layers"], "-", 1.8)
    told = f" (best layer: {best})" if best else ""
    axes.set(xscale="log", xlabel=f"target samples{told}", ylabel="error on target")
    axes.set_xticks(amounts, [str(n) for n in amounts])
    axes.set_xticks([], minor=True)
    plain_log(axes)


def _line(
    axes: Axes,
    shifts: Sequence[Shift],
    models: Mapping[int, Measured | None],
    label: str | None,
    colour: object,
    style: Style,
    width: float,
) -> None:
    """Error against samples, with its band if the line has a name."""
    there = [(s.samples, m) for s in shifts if (m := models.get(s.samples)) is not None]
    if not there:
        return
    amounts, found = [n for n, _ in there], [interval(m.errors) for _, m in there]
    axes.plot(amounts, [each.mean for each in found], color=colour, linestyle=style,
              linewidth=width, label=label, marker=".", markersize=3 if label else 0)  # fmt: skip
    if label:
        low, high = np.array([_ends(each) for each in found]).T
        axes.fill_between(amounts, low, high, color=colour, alpha=0.13, linewidth=0)


def _lines(shifts: Sequence[Shift]) -> dict[str, Line]:
    """Model that layers are compared with -> its line, the same in every panel."""
    models = {name: model for shift in shifts for name, model in shift.models.items()}
    lines: dict[str, Line] = {}
    for role, styles in STYLES.items():
        alike = [name for name, model in models.items() if model.role == role and _is_first(name)]
        for place, name in enumerate(alike):
            colour = ROLES[role][place % len(ROLES[role])]
            lines[name] = models[name].words, colour, styles[place % len(styles)]
    return lines


def _is_first(name: str) -> bool:
    """Whether it was re-trained as the case does first."""
    return ModelKey.parse(name).recipe is None


def _references(shift: Shift, lines: Mapping[str, Line]) -> Iterator[tuple[Measured, Line]]:
    """What layers are compared with in a panel."""
    for name, line in lines.items():
        if name in shift.models:
            yield shift.models[name], line
    if shift.untouched is not None:
        yield shift.untouched, UNTOUCHED


def _relative(errors: FloatArray, floor: Measured | None) -> Interval:
    """Mean error over that of the floor, where there is one, with its interval."""
    if floor is None:
        return interval(errors)
    gone = removed(errors, floor.errors)
    ends = (None, None) if gone.low is None or gone.high is None else (1 - gone.high, 1 - gone.low)
    return Interval(mean=1.0 - gone.mean, low=ends[0], high=ends[1])


def _ends(found: Interval) -> tuple[float, float]:
    """Of an interval; the mean itself where there is none."""
    if found.low is None or found.high is None:
        return found.mean, found.mean
    return found.low, found.high
