"""Pictures of the two flows: their fields, their spectra, their histories."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.arrays import FloatArray
from eddyscope.report.axes import log_limits, mark, show_field, wavenumber_axis
from eddyscope.report.results import SYSTEMS, Absent, Results
from eddyscope.report.setting import count
from eddyscope.report.style import COLOURS, Picture, canvas, words

__all__ = ["fields", "histories", "spectra"]


SYMBOLS = {"omega": "ω̄", "pi": "Π"}
"""Field of a dataset -> how it is written."""


def fields(results: Results) -> Picture:
    """Filtered vorticity and subgrid term of base and target, one held-out sample each."""
    n, systems = network_grid(results), _systems(results)
    ny, nx = results.dataset(systems[0]).points[n]
    figure, axes = canvas(1, 2 * len(systems), 2.75)
    panels = [(name, system) for name in SYMBOLS for system in systems]
    for panel, (name, system) in zip(axes[0], panels, strict=True):
        field = held_out(results.dataset(system), n, name)
        rms = float(np.sqrt(np.mean(field**2)))
        title = f"{system}: {SYMBOLS[name]}, rms {rms:.3g}"
        image = show_field(panel, field / rms if rms else field, 3.0, title, COLOURS[system])
        if panel is not axes[0, 0]:
            panel.set(ylabel="", yticks=[])
    bar = figure.colorbar(image, ax=list(axes[0]), extend="both", shrink=0.8, pad=0.01)
    bar.set_label("field / its rms")
    caption = words(
        f"""What the closure is given, and what it has to give. Left: the vorticity ω̄ (how fast the
        fluid spins, red one way and blue the other) after filtering to {nx} × {ny} points. Right:
        the subgrid term Π, the effect on ω̄ of the eddies too small for this grid. One moment of a
        run that was kept out of training, of each system; of flows of several layers, the first.
        Each field is divided by its own root mean square (rms), so that shapes can be compared: all
        share one colour scale, which ends at three times the rms either way."""
    )
    alt = f"Maps of filtered vorticity and of the subgrid term of {' and '.join(systems)}."
    return Picture("fields", "The two flows, as the closure sees them", caption, alt, figure)


def spectra(results: Results) -> Picture:
    """Energy spectra and enstrophy fluxes of the unfiltered flows, with the filter marked."""
    n, systems = network_grid(results), _systems(results)
    figure, axes = canvas(1, 2, 3.4)
    energy, flux = axes[0]
    curves = []
    for system in systems:
        dataset = results.dataset(system)
        found = dataset.spectra()
        k, flow = found["wavenumber"], found["enstrophy_flux"]
        if not k.size:
            raise Absent(f"the {system} dataset has no spectra of the unfiltered flow")
        curves.append(_band(energy, k, _of_members(dataset, found["energy"]), system))
        largest = float(np.abs(_of_members(dataset, flow).mean(axis=0)).max())
        scale = largest if largest > 0 else 1.0
        _band(flux, k, _of_members(dataset, flow) / scale, system)
    energy.set(yscale="log", ylabel="energy spectrum E(k)", title="Energy by scale")
    energy.set_ylim(log_limits(curves, 9.0))
    flux.set(ylabel="flux / its largest value", title="Enstrophy handed on to smaller scales")
    flux.axhline(0.0, color="#8A9299", linewidth=0.7)
    for panel in (energy, flux):
        _mark_scales(panel, results, n, named=panel is energy)
    energy.legend(loc="lower left", bbox_to_anchor=(0.0, 0.0))
    caption = words(
        """Left: how the energy of the full simulation is spread over scales; the wavenumber k
        counts waves across the box, so large eddies are on the left and small ones on the right.
        Shells go up to k = n/2 − 1; modes in the corners of the wavenumber plane are in none, so
        the sum of E(k) is a little less than the energy. Right: how fast enstrophy (half the mean
        squared vorticity) is handed on past each k to smaller scales; below zero, to larger ones.
        Each flow's is divided by the largest modulus of its mean, so that shapes can be compared,
        not sizes. Lines are means over all runs and samples,
        bands the range of the runs' means. Coloured dashes mark the wavenumbers at which each flow
        is stirred. The grey area is what the coarse grid cannot hold, where the closure stands
        in."""
    )
    alt = (
        "Energy spectra and enstrophy fluxes of base and target against wavenumber, with the "
        "coarse grid's limit and the forcing wavenumbers marked."
    )
    title = "What differs between the flows, scale by scale"
    return Picture("spectra", title, caption, alt, figure)


def histories(results: Results) -> Picture:
    """Energy and enstrophy of each member against time, with the sampled window."""
    systems = _systems(results)
    figure, axes = canvas(2, len(systems), 4.2, sharex="col")
    for column, system in enumerate(systems):
        dataset = results.dataset(system)
        records = dataset.diagnostics()
        if not records["time"].size:
            raise Absent(f"the {system} dataset has no diagnostics of the unfiltered flow")
        start, end = float(dataset.time.min()), float(dataset.time.max())
        for panel, name in zip(axes[:, column], ("energy", "enstrophy"), strict=True):
            for member in records[name]:
                panel.plot(
                    records["time"], member, color=COLOURS[system], linewidth=0.9, alpha=0.75
                )
            panel.axvspan(start, end, color=COLOURS["faint"], alpha=0.6, zorder=0, linewidth=0)
            panel.set_ylim(bottom=0.0)
            panel.set_ylabel(name)
        axes[0, column].set_title(
            f"{system}: {count(dataset.members, 'run')}", color=COLOURS[system]
        )
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
    return int(n if n is not None else results.case["filter"]["n"][0])


def held_out(dataset: Dataset, n: int, name: str) -> FloatArray:
    """A field (y, x) of the first layer, of the last committed sample of the first test member."""
    test = dataset.parts["test"]
    member = test[0].member if test else 0
    done = np.flatnonzero(dataset.committed[member])
    if done.size == 0:
        raise Absent(f"member {member} of the {dataset.system} dataset has no committed sample")
    sample = int(done[-1])
    field = dataset.read(n, name, [member], slice(sample, sample + 1))
    return np.asarray(field[0, 0, 0], dtype=np.float64)


def _systems(results: Results) -> list[str]:
    """The systems that have a dataset. Absent if none has."""
    found = [system for system in SYSTEMS if system in results.datasets]
    if not found:
        results.dataset(SYSTEMS[0])  # says why
    return found


def _of_members(dataset: Dataset, values: FloatArray) -> FloatArray:
    """Mean over each member's committed samples, and layers: (member, wavenumber)."""
    means = [
        found[done].reshape(-1, values.shape[-1]).mean(axis=0)
        for found, done in zip(values, dataset.committed, strict=True)
        if done.any()
    ]
    if not means:
        raise Absent(f"the {dataset.system} dataset has no committed sample")
    return np.stack(means)


def _band(axes: Axes, k: FloatArray, members: FloatArray, system: str) -> FloatArray:
    """Mean over members of (member, wavenumber), and their range."""
    mean = np.asarray(members.mean(axis=0))
    colour = COLOURS[system]
    axes.fill_between(
        k, members.min(axis=0), members.max(axis=0), color=colour, alpha=0.2, linewidth=0
    )
    axes.plot(k, mean, color=colour, label=system)
    return mean


def _mark_scales(axes: Axes, results: Results, n: int, named: bool) -> None:
    """The coarse grid's limit, and the wavenumbers of the forcings."""
    end = max(results.dataset(s).case["grid"]["n"] for s in _systems(results)) / 2
    wavenumber_axis(axes, end)
    axes.axvspan(n / 2, end, color="#EEF0F2", zorder=0, linewidth=0)
    mark(axes, n / 2, f"coarse grid ends, k = {n // 2}" if named else "", "#6B747B", top=True)
    stirred: dict[float, list[str]] = {}
    for system in _systems(results):
        k = results.flows[system].stirred_at if system in results.flows else None
        if k is not None:
            stirred.setdefault(k, []).append(system)
    for k, systems in stirred.items():
        colour = COLOURS[systems[0]] if len(systems) == 1 else COLOURS["ink"]
        mark(axes, k, f"{' and '.join(systems)} stirred, k = {k:g}" if named else "", colour)
