"""Can the samples be trusted? Whether they are stationary, independent, and resolved, and
whether the members differ."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.arrays import FloatArray
from eddyscope.config.errors import apart

__all__ = ["RESOLVED", "Quality", "k_max_eta", "quality"]

RESOLVED = 1.5
"""k_max·η from which a direct simulation counts as resolved."""
ALIKE = 0.5
"""Correlation of successive samples above which they count as one and the same."""
SAME = 0.999
"""Correlation of two members at the last sample above which they are one and the same run."""
COMPARED = 64
"""Points a side, at most, on which members are compared."""
APART = 3.0
"""Decorrelation times between parts of one run, at the least, for them to be independent."""
DRIFT = 0.05
"""Change of the mean energy between the halves of the sampled time that counts as none."""


@dataclass(frozen=True)
class Quality:
    """What a dataset's diagnostics and fields say about its samples."""

    k_max_eta: float
    """k_max·η with η = (ν²/2P)^(1/6), the scale at which viscosity ends the enstrophy
    cascade: χ = 2νP is the enstrophy that viscosity takes, η = (ν³/χ)^(1/6)."""
    drift: float
    """Mean energy of the second half of the sampled time over that of the first, less one; NaN
    of a flow at rest, or whose energy is not known."""
    drift_error: float
    """Standard error of `drift`, from the members; NaN for one member."""
    correlation: float
    """Mean pattern correlation of the filtered vorticity of successive samples; NaN for one."""
    decorrelation_time: float
    """−interval / ln(correlation); NaN where they are not correlated."""
    at_rest: bool
    """Whether there is no energy in the first half of the sampled time."""
    unresolved: str
    """What to change where the flow is not resolved; empty where it is, or this is not known."""
    others: tuple[str, ...]
    """What else to change, a line each."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that is to be changed, a line each."""
        return (self.unresolved, *self.others) if self.unresolved else self.others

    @property
    def summary(self) -> str:
        """All of it in one line."""
        if self.at_rest:
            return "at rest"
        known = np.isfinite(self.k_max_eta)
        words = [f"k_max·η = {self.k_max_eta:.2f}" if known else "resolution not known"]
        error = f" ± {100 * self.drift_error:.0f}" if np.isfinite(self.drift_error) else ""
        words.append(
            f"mean energy drifts by {100 * self.drift:.0f}{error} %"
            if np.isfinite(self.drift)
            else "energy not known"
        )
        if np.isfinite(self.correlation):
            words.append(f"successive samples correlate by {self.correlation:.2f}")
        if np.isfinite(self.decorrelation_time):
            words.append(f"decorrelation time {self.decorrelation_time:.2g}")
        return ", ".join(words)


def quality(dataset: Dataset) -> Quality:
    """The quality of a complete dataset. Not collective; reads its smallest grid's vorticity."""
    interval = dataset.case[dataset.system]["ensemble"]["interval"]
    resolution, correlation = k_max_eta(dataset), _correlation(dataset)
    drift, error = _drift(dataset)
    time = -interval / np.log(correlation) if 0.0 < correlation < 1.0 else float("nan")
    at_rest = _at_rest(dataset)
    others = [
        _rest_warning(dataset.system) if at_rest else "",
        _alike_warning(dataset, [] if at_rest else _alike_members(dataset)),
        _drift_warning(dataset, drift, error),
        _correlation_warning(dataset, correlation, time),
        _gap_warning(dataset, interval, time),
    ]
    unresolved = _resolution_warning(dataset, resolution)
    told = tuple(warning for warning in others if warning)
    return Quality(resolution, drift, error, correlation, time, at_rest, unresolved, told)


def _remedy(name: str, simulated: str, imported: str) -> str:
    """What to do about a system, which a case simulates, or a user imported."""
    return imported if name == schema.IMPORTED else simulated


def _rest_warning(name: str) -> str:
    moving = f"give it an initial condition or a forcing ({name}.flow.initial, {name}.flow.forcing)"
    remedy = _remedy(name, moving, "import samples of a flow that moves")
    return f"{name} is at rest: there is no energy in the first half of the sampled time; {remedy}"


def _resolution_warning(dataset: Dataset, resolution: float) -> str:
    if not resolution < RESOLVED:
        return ""
    wanted = int(np.ceil(dataset.case["grid"]["n"] * RESOLVED / resolution / 2) * 2)
    found, enough = apart(resolution, RESOLVED)
    return (
        f"{dataset.system} is not fully resolved: k_max·η = {found}, resolved from "
        f"{enough} on; use grid.n = {wanted} or more, or a larger viscosity"
    )


def _alike_warning(dataset: Dataset, groups: list[list[int]]) -> str:
    if not groups:
        return ""
    name = dataset.system
    told = " and ".join(", ".join(map(str, group)) for group in groups)
    random = (
        f"give {name} a random initial condition or a random forcing ({name}.flow.initial, "
        f"{name}.flow.forcing)"
    )
    remedy = _remedy(name, random, "import each run once")
    return (
        f"{name}'s members {told} are alike: at the last sample their vorticity correlates by "
        f"{SAME:g} or more, so they count as one run, and tests on them say nothing new; {remedy}"
    )


def _drift_warning(dataset: Dataset, drift: float, error: float) -> str:
    if not abs(drift) > DRIFT or abs(drift) < 2.0 * error:
        return ""
    name = dataset.system
    now = dataset.case[name]["ensemble"]["spin_up"]
    raising = f"raise {name}.ensemble.spin_up (now {now:g})"
    remedy = _remedy(name, raising, "import later samples, if it is meant to be")
    return (
        f"{name} is not yet stationary: its mean energy changes by {100 * drift:.0f} % between "
        f"the halves of the sampled time; {remedy}"
    )


def _correlation_warning(dataset: Dataset, correlation: float, time: float) -> str:
    if not correlation > ALIKE:
        return ""
    name = dataset.system
    # Samples that are alike to the last bit do not tell how long they are.
    enough = f" to {1.5 * time:.2g} or more" if np.isfinite(time) else ""
    now = f"(now {dataset.case[name]['ensemble']['interval']:g})"
    apart = f"import samples further apart {now}, and split them by members, or in time with a gap"
    remedy = _remedy(name, f"raise {name}.ensemble.interval{enough} {now}", apart)
    return (
        f"{name}'s samples are not independent: successive ones correlate by {correlation:.2f}; "
        f"{remedy}"
    )


def _gap_warning(dataset: Dataset, interval: float, time: float) -> str:
    """Where training, validation and test are pieces of the same runs, one after the other."""
    parts = [blocks for blocks in dataset.parts.values() if blocks]
    if not np.isfinite(time) or any(blocks.whole for blocks in parts):
        return ""
    ends = [(blocks.pieces[0].start, blocks.pieces[-1].stop) for blocks in parts]
    gap = interval * min(later[0] - sooner[1] + 1 for sooner, later in pairwise(ends))
    if gap >= APART * time:
        return ""
    name = dataset.system
    wanted = f"{APART * time:.2g} or more"
    remedy = _remedy(
        name, f"set {name}.ensemble.split.gap = {wanted}", f"a gap of {wanted} will do"
    )
    return (
        f"{name}'s samples for testing resemble those for training: these parts of the same runs "
        f"are {gap:.2g} apart, {gap / time:.1f} decorrelation times; {remedy}"
    )


def _alike_members(dataset: Dataset) -> list[list[int]]:
    """Groups of two or more members that are the same at the last sample, see SAME."""
    n, last = dataset.grids[0], slice(dataset.samples - 1, dataset.samples)
    stride = -(-n // COMPARED)
    groups: list[tuple[FloatArray, list[int]]] = []
    for member in range(dataset.members):  # one at a time: a dataset may not fit into memory
        field = dataset.read(n, _compared(dataset), [member], last)[..., ::stride, ::stride]
        pattern = field.astype(np.float64).ravel()
        pattern /= np.linalg.norm(pattern) or 1.0
        for first, alike in groups:
            if first @ pattern >= SAME:
                alike.append(member)
                break
        else:
            groups.append((pattern, [member]))
    return [alike for _, alike in groups if len(alike) > 1]


def _compared(dataset: Dataset) -> str:
    """The field by which samples are compared: vorticity, where the dataset has it."""
    return "omega" if "omega" in dataset.fields else dataset.fields[0]


def _sampled(dataset: Dataset, name: str) -> FloatArray:
    """A diagnostic over the sampled time, axes (member, record)."""
    diagnostics = dataset.diagnostics()
    window = diagnostics["time"] >= dataset.time.min() - 1e-9
    values: FloatArray = diagnostics[name][:, window]
    return values


def k_max_eta(dataset: Dataset) -> float:
    """k_max·η over the sampled time, see `Quality`; NaN if its diagnostics are not known, or the
    dataset says no viscosity."""
    palinstrophy = _sampled(dataset, "palinstrophy")
    known = palinstrophy[np.isfinite(palinstrophy)]
    viscosity = dataset.viscosity
    if viscosity is None or not known.size or known.mean() <= 0.0:
        return float("nan")
    eta = (viscosity**2 / (2.0 * known.mean())) ** (1.0 / 6.0)
    return float((dataset.case["grid"]["n"] // 2 - 1) * eta)


def _at_rest(dataset: Dataset) -> bool:
    energy = _sampled(dataset, "energy")
    return bool(energy.size and np.all(energy[:, : max(1, energy.shape[1] // 2)] == 0.0))


def _drift(dataset: Dataset) -> tuple[float, float]:
    energy = _sampled(dataset, "energy")
    half = energy.shape[1] // 2
    if half == 0:
        return (0.0 if energy.size else float("nan")), float("nan")
    before, after = energy[:, :half].mean(axis=1), energy[:, half:].mean(axis=1)
    if not np.all(before > 0.0):
        return float("nan"), float("nan")
    change = after / before - 1.0
    members = len(change)
    error = change.std(ddof=1) / np.sqrt(members) if members > 1 else float("nan")
    return float(change.mean()), float(error)


def _correlation(dataset: Dataset) -> float:
    if dataset.samples < 2:
        return float("nan")
    patterns = []
    for member in range(dataset.members):  # one at a time: a dataset may not fit into memory
        field = dataset.read(dataset.grids[0], _compared(dataset), [member])[0]
        flat = field.astype(np.float64).reshape(len(field), -1)
        size = np.linalg.norm(flat, axis=1, keepdims=True)
        if not np.all(size > 0.0):
            return float("nan")
        flat /= size
        patterns.append(np.einsum("sx,sx->s", flat[:-1], flat[1:]))
    return float(np.mean(patterns))
