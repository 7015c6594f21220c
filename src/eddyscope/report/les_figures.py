"""Pictures of large-eddy simulation: what closures do when they are run back in the flow."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.les import FILTERED_DNS
from eddyscope.config.arrays import FloatArray
from eddyscope.report.axes import log_limits, plain_log, wavenumber_axis
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import COLOURS, Picture, Style, canvas, colour_of, words

__all__ = ["label", "mean_over_runs", "model_of", "statistics", "trajectories"]

Look = tuple[str, Style]
"""Colour and line."""

FREE = ("#AA4499", "#8C6D31", "#56B4E9", "#332288", "#E69F00", "#882255")
"""For closures that are no models of this case, and for what else would share a colour."""

DASHES: tuple[Style, ...] = ((0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1.5, 1, 1.5)), (0, (8, 2)))
"""Of closures, in turn: what colour alone does not tell apart, the lines do."""


def statistics(results: Results) -> Picture:
    """Time-mean energy spectra and PDFs of vorticity, against the filtered DNS."""
    truth = results.closure(FILTERED_DNS)
    _closures(results)
    figure, axes = canvas(1, 3, 3.1)
    spectrum, ratio, pdf = axes[0]
    exact = mean_over_runs(truth["energy_spectrum"])
    energies, ratios, densities = [], [], []
    looks = _looks(results)
    for name, run in _truth_first(results).items():
        look = (looks[name], label(results, run))
        k, energy = run["wavenumber"].values, mean_over_runs(run["energy_spectrum"])
        energies.append(_line(spectrum, k, energy, *look))
        ratios.append(_line(ratio, k, energy / exact, *look))
        density = mean_over_runs(run["vorticity_pdf"])
        density = np.where(density > 0.0, density, np.nan)  # never met: no point on a log axis
        densities.append(_line(pdf, run["vorticity_bin"].values, density, *look))
    spectrum.set(yscale="log", ylabel="energy spectrum E(k)", title="Energy by scale")
    ratio.set(ylabel="E(k) / filtered DNS's", title="Over the filtered DNS")
    pdf.set(yscale="log", ylabel="probability density", title="Vorticity", xlabel="vorticity ω̄")
    for panel, curves, decades in ((spectrum, energies, 6.0), (pdf, densities, 5.0)):
        panel.set_ylim(log_limits(curves, decades))
    ratio.set_ylim(log_limits(ratios, 3.0))
    plain_log(ratio)
    for panel in (spectrum, ratio):
        wavenumber_axis(panel, float(truth["wavenumber"].values[-1]))
    handles, labels = spectrum.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    caption = words(
        """Closures run back in a coarse simulation of the target. Black: what the filtered full
        simulation does, which a good closure reproduces. Left: energy at each scale (shells of
        wavenumbers; modes in the corners beyond the last shell are left out). Middle: the same,
        over that of the filtered full simulation (1 is perfect). Right: how often each vorticity
        occurs; the tails are the strongest eddies. Means over all test runs, each for as long as it
        lasted."""
    )
    alt = "Energy spectra and vorticity densities of the closures against the filtered DNS."
    return Picture("les", "The closures in a simulation", caption, alt, figure)


def trajectories(results: Results) -> Picture:
    """Energy and enstrophy against time, and where a run blew up."""
    closures = _closures(results)
    figure, axes = canvas(1, 2, 3.0)
    looks = _looks(results)
    for panel, name in zip(axes[0], ("energy", "enstrophy"), strict=True):
        for closure, run in _truth_first(results).items():
            _plot_runs(panel, run, name, (looks[closure], label(results, run)))
        if FILTERED_DNS in results.les:
            # A run that blows up would flatten all others.
            limit = 3.0 * float(np.nanmax(results.les[FILTERED_DNS][name].values))
            panel.set_ylim(0.0, min(limit, panel.get_ylim()[1]) if limit > 0.0 else None)
        panel.set(
            xlabel="time since the start", ylabel=name, title=f"{name.capitalize()} against time"
        )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    caption = words(
        f"""One line for each test run of each closure; black is the filtered full simulation.
        Single runs of turbulence drift apart by nature, so it is level and trend that count, not
        every wiggle. Crosses at the top mark runs that blew up. {_stability(results, closures)}"""
    )
    alt = "Energy and enstrophy against time for every closure and the filtered DNS."
    return Picture("les_time", "Do the simulations stay stable?", caption, alt, figure)


def mean_over_runs(values: xr.DataArray) -> FloatArray:
    """Mean over members of (member, x); those that were never sampled hold no numbers."""
    table = values.values
    kept = table[np.isfinite(table).all(axis=1)]
    return np.asarray(kept.mean(axis=0) if len(kept) else np.full(table.shape[1], np.nan))


def model_of(run: xr.Dataset) -> ModelKey | None:
    """The model that was the closure; None for a closure that is no model."""
    text = str(run.attrs["model"])
    return ModelKey.parse(text) if text else None


def label(results: Results, run: xr.Dataset) -> str:
    """What a closure is called."""
    special = {FILTERED_DNS: "filtered DNS", "none": "no closure"}
    closure, key = str(run.attrs["closure"]), model_of(run)
    return special.get(closure, closure) if key is None else results.label(key)


def _closures(results: Results) -> Mapping[str, xr.Dataset]:
    found = {name: run for name, run in results.les.items() if name != FILTERED_DNS}
    if not found:
        raise Absent("no closure was run in a simulation")
    return found


def _truth_first(results: Results) -> Mapping[str, xr.Dataset]:
    truth = {FILTERED_DNS: results.les[FILTERED_DNS]} if FILTERED_DNS in results.les else {}
    return {**truth, **_closures(results)}


def _looks(results: Results) -> dict[str, Look]:
    """Colour and dashes of each closure: truth black, models their own colour unless another has
    it already, other closures apart from them."""
    truth = results.les.get(FILTERED_DNS)
    looks: dict[str, Look] = {} if truth is None else {FILTERED_DNS: (COLOURS["truth"], "-")}
    free, dashes = itertools.cycle(FREE), itertools.cycle(DASHES)
    taken: set[str] = set()
    for name, run in _closures(results).items():
        key = model_of(run)
        colour = next(free) if key is None else colour_of(results, key)
        if colour in taken and len(taken) < len(FREE):
            colour = next(other for other in free if other not in taken)
        taken.add(colour)
        looks[name] = (colour, next(dashes))
    return looks


def _line(axes: Axes, x: FloatArray, y: FloatArray, look: Look, name: str) -> FloatArray:
    colour, style = look
    width = 2.0 if style == "-" else 1.5
    axes.plot(x, y, linestyle=style, color=colour, linewidth=width, label=name)
    return y


def _plot_runs(axes: Axes, run: xr.Dataset, name: str, named: tuple[Look, str]) -> None:
    """A line for each run, and a cross at the top edge where it blew up."""
    (colour, style), text = named
    for member, values in enumerate(run[name].values):
        shown = text if member == 0 else None
        time = run["time"].values[member]
        axes.plot(time, values, linestyle=style, color=colour, linewidth=1.3, label=shown)
    for time in _blow_ups(run):
        axes.plot(
            time,
            0.97,
            "X",
            color=colour,
            markeredgecolor="white",
            markersize=8,
            transform=axes.get_xaxis_transform(),
        )


def _blow_ups(run: xr.Dataset) -> FloatArray:
    """When runs blew up."""
    return np.asarray(run["blow_up_time"].values[run["stable"].values == 0])


def _stability(results: Results, closures: Mapping[str, xr.Dataset]) -> str:
    told = []
    for run in closures.values():
        stable, times = run["stable"], _blow_ups(run)
        text = f"{label(results, run)}: {int(stable.sum())} of {stable.size} runs reached the end"
        text += f" (blow-up at t = {', '.join(f'{t:.3g}' for t in times)})" if times.size else ""
        told.append(text)
    return "; ".join(told) + "."
