"""Pictures of the two flows: their fields, their spectra, their histories."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.report.axes import log_limits, mark, show_field, wavenumber_axis
from eddyscope.report.results import SYSTEMS, Absent, Results
from eddyscope.report.style import COLOURS, Picture, canvas, words

__all__ = ["fields", "histories", "spectra"]


def fields(results: Results) -> Picture:
    """Filtered vorticity and subgrid term of base and target, one held-out sample each."""
    n = network_grid(results)
    figure, axes = canvas(1, 4, 2.75)
    for column, name in ((0, "omega"), (2, "pi")):
        for place, system in enumerate(SYSTEMS):
            dataset = results.dataset(system)
            field = held_out(dataset, n, name)
            rms = float(np.sqrt(np.mean(field**2)))
            symbol = {"omega": "ω̄", "pi": "Π"}[name]
            panel = axes[0, column + place]
            title = f"{system}: {symbol}, rms {rms:.3g}"
            scaled = field / rms if rms else field
            image = show_field(panel, scaled, 3.0, title, COLOURS[system])
            if column + place:
                panel.set(ylabel="", yticks=[])
    bar = figure.colorbar(image, ax=list(axes[0]), shrink=0.8, pad=0.01)
    bar.set_label("field / its rms")
    caption = words(
        f"""What the closure is given, and what it has to give. Left pair: the vorticity ω̄ (how fast
        the fluid spins, red one way and blue the other) after filtering to {n} × {n} points. Right
        pair: the subgrid term Π, the effect on ω̄ of the eddies too small for this grid. One moment
        of a run that was kept out of training, of each system. Each field is divided by its own
        root mean square (rms), so that shapes can be compared: all four share one colour scale."""
    )
    alt = "Four maps: filtered vorticity of base and target, and subgrid term of base and target."
    return Picture("fields", "The two flows, as the closure sees them", caption, alt, figure)


def spectra(results: Results) -> Picture:
    """Energy spectra and enstrophy fluxes of the unfiltered flows, with the filter marked."""
    n = network_grid(results)
    figure, axes = canvas(1, 2, 3.4)
    energy, flux = axes[0]
    curves = []
    for system in SYSTEMS:
        found = results.dataset(system).spectra()
        k = found["wavenumber"]
        curves.append(_band(energy, k, found["energy"], system))
        flow = found["enstrophy_flux"]
        dissipated = np.nanmax(np.abs(np.nanmean(flow, axis=(0, 1))))
        _band(flux, k, flow / (dissipated if dissipated > 0 else 1.0), system)
    energy.set(yscale="log", ylabel="energy spectrum E(k)", title="Energy by scale")
    energy.set_ylim(log_limits(curves, 9.0))
    flux.set(ylabel="flux / its largest value", title="Enstrophy handed on to smaller scales")
    flux.axhline(0.0, color="#8A9299", linewidth=0.7)
    _mark_scales(energy, results, n, named=True)
    _mark_scales(flux, results, n, named=False)
    energy.legend(loc="lower left", bbox_to_anchor=(0.0, 0.0))
    caption = words(
        """Left: how the energy of the full simulation is spread over scales; the wavenumber k
        counts waves across the box, so large eddies are on the left and small ones on the right.
        Right: how fast enstrophy (mean squared vorticity) is handed on past each k. Lines are means
        over all runs and samples, bands the range of the runs' means. Coloured dashes mark the
        wavenumbers at which each flow is stirred. The grey area is what the coarse grid cannot
        hold: the closure stands in for it. Where base and target differ is what transfer learning
        has to bridge."""
    )
    alt = (
        "Energy spectra and enstrophy fluxes of base and target against wavenumber, with the "
        "coarse grid's limit and the forcing wavenumbers marked."
    )
    return Picture(
        "spectra", "What differs between the flows, scale by scale", caption, alt, figure
    )


def histories(results: Results) -> Picture:
    """Energy and enstrophy of each member against time, with the sampled window."""
    figure, axes = canvas(2, 2, 4.2, sharex="col")
    for column, system in enumerate(SYSTEMS):
        dataset = results.dataset(system)
        records = dataset.diagnostics()
        for row, name in enumerate(("energy", "enstrophy")):
            panel = axes[row, column]
            for member in records[name]:
                panel.plot(
                    records["time"], member, color=COLOURS[system], linewidth=0.9, alpha=0.75
                )
            start, end = float(dataset.time.min()), float(dataset.time.max())
            panel.axvspan(start, end, color=COLOURS["faint"], alpha=0.6, zorder=0, linewidth=0)
            panel.set_ylim(bottom=0.0)
            panel.set_ylabel(name)
        axes[0, column].set_title(f"{system}: {dataset.members} runs", color=COLOURS[system])
        axes[1, column].set_xlabel("time t")
    caption = words(
        """Each line is one independent run of the full simulation. Energy is the mean of |u|²/2 and
        enstrophy that of ω²/2 (u is the velocity, ω the vorticity). Samples were taken in the grey
        window. Lines that still climb or fall there belong to a flow that has not settled."""
    )
    alt = "Energy and enstrophy of every run of base and target against time; sample window shaded."
    return Picture("histories", "How the simulations evolved", caption, alt, figure)


def network_grid(results: Results) -> int:
    """Points a side of the grid that the network works on."""
    n = results.case["network"]["n"]
    return int(n if n is not None else min(results.case["filter"]["n"]))


def held_out(dataset: Dataset, n: int, name: str) -> NDArray[np.float64]:
    """A field of the last committed sample of the first test member."""
    members = dataset.parts["test"] or range(dataset.members)
    member = members[0]
    done = np.flatnonzero(dataset.committed[member])
    if done.size == 0:
        raise Absent(f"member {member} of the {dataset.system} dataset has no committed sample")
    sample = int(done[-1])
    field = dataset.read(n, name, [member], slice(sample, sample + 1))
    return np.asarray(field[0, 0, 0], dtype=np.float64)


def _band(axes: Any, k: NDArray[Any], values: NDArray[Any], system: str) -> NDArray[Any]:
    """Mean over members and samples, and the range of the members' means."""
    members = np.nanmean(values, axis=1)
    mean: NDArray[Any] = np.nanmean(members, axis=0)
    colour = COLOURS[system]
    low, high = np.nanmin(members, axis=0), np.nanmax(members, axis=0)
    axes.fill_between(k, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(k, mean, color=colour, label=system)
    return mean


def _mark_scales(axes: Any, results: Results, n: int, named: bool) -> None:
    """The coarse grid's limit, and the wavenumbers of the forcings."""
    end = results.case["grid"]["n"] / 2
    wavenumber_axis(axes, end)
    axes.axvspan(n / 2, end, color="#EEF0F2", zorder=0, linewidth=0)
    mark(axes, n / 2, f"coarse grid ends, k = {n // 2}" if named else "", "#6B747B", top=True)
    forced: dict[int, list[str]] = {}
    for system in SYSTEMS:
        k = results.case[system]["flow"]["forcing"].get("wavenumber")
        if k is not None:
            forced.setdefault(int(k), []).append(system)
    for k, systems in forced.items():
        colour = COLOURS[systems[0]] if len(systems) == 1 else COLOURS["ink"]
        mark(axes, k, f"{' and '.join(systems)} stirred, k = {k}" if named else "", colour)
