"""Pictures of large-eddy simulation: what closures do when they are run back in the flow."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.report.axes import log_limits, plain_log, wavenumber_axis
from eddyscope.report.results import Absent, Artefact, Results
from eddyscope.report.style import COLOURS, Picture, canvas, words

__all__ = ["label", "statistics", "trajectories"]

TRUTH = "dns"
"""Name of the filtered DNS among the closures."""

GREENS = (COLOURS["transfer"], "#5CC4A4", "#00513C", "#A8DCCB")
"""For re-trained layers, in their order."""


def statistics(results: Results) -> Picture:
    """Time-mean energy spectra and PDFs of vorticity, against the filtered DNS."""
    truth = results.closure(TRUTH)
    figure, axes = canvas(1, 3, 3.1)
    spectrum, ratio, pdf = axes[0]
    colours = _colours(results)
    exact = _mean(truth.group()["energy_spectrum"])
    energies, ratios, densities = [], [], []
    for name, closure in {TRUTH: truth, **_closures(results)}.items():
        found, look = closure.group(), (colours[name], label(name, closure))
        k, energy = found["wavenumber"], _mean(found["energy_spectrum"])
        energies.append(_line(spectrum, k, energy, *look))
        ratios.append(_line(ratio, k, energy / exact, *look))
        density = _mean(found["vorticity_pdf"])
        density = np.where(density > 0.0, density, np.nan)  # never met: no point on a log axis
        densities.append(_line(pdf, found["vorticity_bin"], density, *look))
    spectrum.set(yscale="log", ylabel="energy spectrum E(k)", title="Energy by scale")
    ratio.set(ylabel="E(k) / filtered DNS's", title="Over the filtered DNS")
    pdf.set(yscale="log", ylabel="probability density", title="Vorticity")
    pdf.set_xlabel("vorticity ω̄")
    for panel, curves, decades in ((spectrum, energies, 6.0), (pdf, densities, 5.0)):
        panel.set_ylim(log_limits(curves, decades))
    ratio.set_ylim(log_limits(ratios, 3.0))
    plain_log(ratio)
    for panel in (spectrum, ratio):
        wavenumber_axis(panel, float(k[-1]))
    handles, labels = spectrum.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    caption = words(
        """Closures run back in a coarse simulation of the target. Black: what the filtered full
        simulation does, which a good closure reproduces. Left: energy at each scale. Middle: the
        same, over that of the filtered full simulation (1 is perfect). Right: how often each
        vorticity occurs; the tails are the strongest eddies. Means over all test runs, each for as
        long as it lasted."""
    )
    alt = "Energy spectra and vorticity densities of the closures against the filtered DNS."
    return Picture("les", "The closures in a simulation", caption, alt, figure)


def trajectories(results: Results) -> Picture:
    """Energy and enstrophy against time, and where a run blew up."""
    closures = _closures(results)
    shown = {TRUTH: results.les[TRUTH], **closures} if TRUTH in results.les else closures
    figure, axes = canvas(1, 2, 3.0)
    colours = _colours(results)
    for panel, name in zip(axes[0], ("energy", "enstrophy"), strict=True):
        limit = 0.0
        for closure, artefact in shown.items():
            found = artefact.group()
            _plot_members(panel, found, name, colours[closure], label(closure, artefact))
            if closure == TRUTH:
                limit = 3.0 * float(np.nanmax(found[name]))
        if limit > 0.0:
            panel.set_ylim(0.0, min(limit, panel.get_ylim()[1]))
        panel.set(
            xlabel="time since the start", ylabel=name, title=f"{name.capitalize()} against time"
        )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    caption = words(
        f"""One line for each test run of each closure; black is the filtered full simulation.
        Single runs of turbulence drift apart by nature, so it is level and trend that count, not
        every wiggle. Crosses at the top mark runs that blew up. {_stability(closures)}"""
    )
    alt = "Energy and enstrophy against time for every closure and the filtered DNS."
    return Picture("les_time", "Do the simulations stay stable?", caption, alt, figure)


def _closures(results: Results) -> dict[str, Artefact]:
    found = {name: results.les[name] for name in sorted(results.les) if name != TRUTH}
    if not found:
        raise Absent("no closure was run in a simulation")
    return found


def _mean(values: NDArray[Any]) -> NDArray[Any]:
    """Mean over members; those that were never sampled hold no numbers."""
    kept = values[np.isfinite(values).all(axis=1)]
    mean: NDArray[Any] = kept.mean(axis=0) if len(kept) else np.full(values.shape[1], np.nan)
    return mean


def _colours(results: Results) -> dict[str, str]:
    """Truth black, the base model as base, re-trained layers in greens, others apart from them."""
    layers = [name for name in sorted(results.les) if re.match(r"l\d\d|best", name)]
    named = {"none": "none", TRUTH: "truth", "base": "base", "all": "all", "gain": "gain"}
    free = itertools.cycle((COLOURS["gain"], COLOURS["scratch"], COLOURS["all"]))
    colours = {}
    for name in sorted(results.les):
        if name in layers:
            colours[name] = GREENS[layers.index(name) % len(GREENS)]
        else:
            colours[name] = COLOURS[named[name]] if name in named else next(free)
    return colours


def label(name: str, artefact: Artefact) -> str:
    """What a closure is called: "best" says which model it stands for."""
    special = {TRUTH: "filtered DNS", "none": "no closure", "base": "base model"}
    if name in special:
        return special[name]
    model = str(artefact.attributes.get("model", name))
    return f"{model} re-trained" if re.match(r"l\d\d", model) else model


def _line(axes: Any, x: NDArray[Any], y: NDArray[Any], colour: str, name: str) -> NDArray[Any]:
    style, width = ("-", 2.0) if colour == COLOURS["truth"] else ("--", 1.5)
    axes.plot(x, y, style, color=colour, linewidth=width, label=name)
    return y


def _plot_members(axes: Any, found: dict[str, Any], name: str, colour: str, who: str) -> None:
    """A line for each member, and a cross at the top edge where it blew up."""
    for member, values in enumerate(found[name]):
        time = found["time"][member] if found["time"].ndim == 2 else found["time"]
        shown = who if member == 0 else None
        axes.plot(time, values, color=colour, linewidth=1.0, alpha=0.85, label=shown)
    for time in found.get("blow_up_time", [])[found.get("stable", np.array([])) == 0]:
        axes.plot(
            time,
            0.97,
            "X",
            color=colour,
            markeredgecolor="white",
            markersize=8,
            transform=axes.get_xaxis_transform(),
        )


def _stability(closures: dict[str, Artefact]) -> str:
    told = []
    for name, artefact in closures.items():
        found = artefact.group()
        stable = found.get("stable")
        if stable is None:
            told.append(f"{label(name, artefact)}: stability not recorded")
            continue
        text = (
            f"{label(name, artefact)}: {int(np.sum(stable))} of {len(stable)} runs reached the end"
        )
        times = found.get("blow_up_time", np.array([]))[np.asarray(stable) == 0]
        text += f" (blow-up at t = {', '.join(f'{t:.3g}' for t in times)})" if times.size else ""
        told.append(text)
    return "; ".join(told) + "."
