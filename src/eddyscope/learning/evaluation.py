"""How well models do on the test members of both systems: the computing behind `evaluate`.

The files that it ends up in are described in `artefacts/evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.evaluation import Row
from eddyscope.artefacts.key import BASE, ModelKey, layers_text
from eddyscope.artefacts.model import ModelRecord
from eddyscope.artefacts.normalisation import (
    WAYS,
    Normalisation,
    Way,
    read_normalisation,
    statistics_of,
)
from eddyscope.config.arrays import BoolArray, FloatArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import Fields, Selection
from eddyscope.learning.metrics import METRICS, shell_spectrum, snapshot_metrics
from eddyscope.learning.models import Model, load_model
from eddyscope.learning.prediction import predict
from eddyscope.learning.supply import fields_in_memory
from eddyscope.networks.settings import Channels, NetworkSettings, channel_names
from eddyscope.parallel.failure import agree
from eddyscope.parallel.torch_group import pick_device
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World
from eddyscope.spectral.grid import BOX

__all__ = [
    "Evaluation",
    "Outcome",
    "Sources",
    "Subject",
    "evaluate",
    "evaluate_all",
    "example_details",
    "history_details",
    "load_subjects",
    "rows_of",
    "sources_read",
    "spectra_of_members",
    "system_details",
]


@dataclass(frozen=True)
class Subject:
    """A model that is evaluated, with what the table says of it."""

    key: ModelKey
    model: Model

    @property
    def samples(self) -> int | None:
        """Target samples that it was re-trained on; None for the base model."""
        return None if self.key.is_base else self.model.record.resolved.samples

    @property
    def training_seed(self) -> int:
        """Seed of the base model's training."""
        return self.model.record.resolved.training_seed


@dataclass(frozen=True)
class Sources:
    """What an evaluation looks at."""

    subjects: Sequence[Subject]
    """The base model first."""
    own: Mapping[str, Normalisation]
    """System -> its own statistics."""
    tests: Mapping[str, Fields]
    """System -> its test members."""

    @property
    def ways(self) -> dict[Way, Normalisation]:
        """Of the target's fields, under each way that can be had."""
        found: dict[Way, Normalisation] = {}
        for way in WAYS:
            with suppress(CaseError):
                found[way] = statistics_of(way, self.own["base"], self.own["target"])
        return found

    def normalisation(self, subject: Subject, system: str) -> Normalisation:
        """What a model's fields are normalised by: the base model as its file holds it, every
        other under its own way. Raises CaseError."""
        model = subject.model
        if subject.key.is_base:
            return model.normalisation
        way = model.record.normalisation.name
        return model.normalisation_under(way, self.own["base"], self.own[system])


@dataclass(frozen=True)
class Outcome:
    """One model on one system's test members."""

    metrics: dict[str, FloatArray]
    """Metric -> values, (snapshot,), in the order of the fields."""
    spectrum: FloatArray | None
    """Sum of |Π̂| by shell, mean over each member's snapshots: (member, layer, wavenumber); None
    where the fields have no shells: they are not periodic, or not square."""


@dataclass(frozen=True)
class Evaluation:
    """Every model on both systems' test members; what `artefacts/evaluation.py` writes."""

    rows: list[Row]
    """Every model under its own way, see `Sources.normalisation`."""
    renormalised: dict[Way, list[Row]]
    """Way to normalise the target -> rows of the base model under it."""
    details: dict[str, xr.Dataset]
    records: list[ModelRecord]
    """Of all models."""

    @property
    def table(self) -> list[Row]:
        """All rows, each once."""
        known = {row.normalisation for row in self.rows if row.model == BASE}
        others = (rows for way, rows in self.renormalised.items() if way not in known)
        return [*self.rows, *(row for rows in others for row in rows)]


def load_subjects(paths: Mapping[ModelKey, Path], network: NetworkSettings) -> list[Subject]:
    """Read the models to evaluate. Not collective. Raises CaseError."""
    return [Subject(key, load_model(path, network)) for key, path in paths.items()]


@contextmanager
def sources_read(
    world: World,
    models: Mapping[ModelKey, Path],
    datasets: Mapping[str, Source],
    own: Mapping[str, Path],
    network: NetworkSettings,
    channels: Channels,
    n: int,
) -> Iterator[Sources]:
    """What is evaluated, on grid `n`, for the time of a `with` block; test members are read once by
    all ranks together. Collective. Raises CaseError.

    datasets, own: system -> its dataset, its normalisation.
    """
    subjects, statistics, chosen = agree(
        world.comm,
        lambda: (
            load_subjects(models, network),
            {system: read_normalisation(path) for system, path in own.items()},
            {system: _test_members(source, n, channels) for system, source in datasets.items()},
        ),
    )
    with ExitStack() as stack:
        tests = {
            system: stack.enter_context(fields_in_memory(world, selection))
            for system, selection in chosen.items()
        }
        yield Sources(subjects, statistics, tests)


def _test_members(source: Source, n: int, channels: Channels) -> Selection:
    """The network's fields, and ψ̄ and ω̄ where the dataset holds them: metrics and pictures are
    of these."""
    dataset = source.open()
    dataset.require(n, "test")
    kept = [name for name in ("psi", "omega") if name in dataset.fields]
    names = dict.fromkeys([*kept, *channels.fields(dataset.layers)])
    return Selection.of(dataset, n, "test", None, list(names))


def evaluate_all(world: World, sources: Sources, batch_size: int) -> Evaluation:
    """Try every model on every system's test fields, the work dealt to the ranks, whose devices
    the models go to. Collective.

    Raises CaseError for a model whose way to normalise cannot be had.
    """
    subjects, tests, ways = sources.subjects, sources.tests, sources.ways
    base, device = subjects[0], pick_device(world.comm)
    for subject in subjects:
        subject.model.network.to(device)
    pairs = [(subject, system) for system in tests for subject in subjects]
    items = agree(world.comm, lambda: [(*pair, sources.normalisation(*pair)) for pair in pairs])
    items += [(base, "target", normalisation) for normalisation in ways.values()]

    def one(item: tuple[Subject, str, Normalisation]) -> Outcome:
        subject, system, normalisation = item
        return evaluate(subject.model, normalisation, tests[system], batch_size)

    found = map_in_order(world, one, items)
    rows: list[Row] = []
    outcomes: dict[str, dict[ModelKey, Outcome]] = {system: {} for system in tests}
    for (subject, system, normalisation), outcome in zip(items[: len(pairs)], found, strict=False):
        rows += rows_of(subject, system, _told(normalisation, system), outcome, tests[system])
        outcomes[system][subject.key] = outcome
    renormalised = {
        way: rows_of(base, "target", way, outcome, tests["target"])
        for way, outcome in zip(ways, found[len(pairs) :], strict=True)
    }
    channels = base.model.network.channels
    details = {s: system_details(outcomes[s], tests[s], channels) for s in tests}
    records = [subject.model.record for subject in subjects]
    details["history"] = history_details(subjects)
    return Evaluation(rows, renormalised, details, records)


def _told(normalisation: Normalisation, system: str) -> str:
    """How the table says that a system's fields are normalised: by a way; "stored" for inputs by
    each snapshot and outputs by another system's statistics, as in a base model's file."""
    of_another = normalisation.name == "snapshot" and normalisation.system != system
    return "stored" if of_another else normalisation.name


def evaluate(
    model: Model, normalisation: Normalisation, fields: Fields, batch_size: int
) -> Outcome:
    """Metrics of `model` on `fields`, normalised as told. Not collective."""
    channels = model.network.channels
    predicted = predict(model.network, normalisation, fields.values, batch_size)
    std = np.array([normalisation.std[name] for name in channels.outputs])[:, None, None]
    known = {name: of_outputs(name, fields, channels) for name in ("omega", "psi")}
    metrics = snapshot_metrics(
        predicted,
        exact_of(fields, channels),
        std,
        **known,
        spectral=fields.spectral,
        members=fields.numbers,
    )
    spectrum = spectra_of_members(predicted, fields) if fields.spectral else None
    return Outcome(metrics, spectrum)


def exact_of(fields: Fields, channels: Channels) -> RealArray:
    """What a network of these channels is to give, (sample, output channel, y, x)."""
    return np.stack(list(fields.channels(channels.outputs).values()), axis=1)


def of_outputs(name: str, fields: Fields, channels: Channels) -> RealArray | None:
    """Field `name`, such as ω̄, of each output's layer, (sample, output channel, y, x), where all
    outputs are subgrid terms and the field is known; else None."""
    if name not in fields.values or "pi" not in fields.values:
        return None
    layers = fields.values[name].shape[1]
    of_pi = dict(zip(channel_names("pi", layers), channel_names(name, layers), strict=True))
    if not all(output in of_pi for output in channels.outputs):
        return None
    return np.stack([fields.channels([of_pi[n]])[of_pi[n]] for n in channels.outputs], axis=1)


def rows_of(
    subject: Subject, system: str, normalisation: str, outcome: Outcome, fields: Fields
) -> list[Row]:
    """The rows of one model on one system: METRIC × test member.

    normalisation: how the fields were normalised, as the table says it.
    """
    key, record = subject.key, subject.model.record
    told, numbers = pieces_of(fields), {} if key.is_base else record.metrics
    parameters = ";".join(f"{name}={value}" for name, value in key.parameters.items())
    return [
        Row(
            model=str(key),
            adaptation=key.kind,
            role=record.adapted.role,
            words=record.adapted.words,
            layers=layers_text(key.layers),
            parameters=parameters,
            samples=subject.samples,
            training_seed=subject.training_seed,
            recipe=record.resolved.recipe,
            seed=None if key.is_base else key.seed or 0,
            normalisation=normalisation,
            system=system,
            metric=metric,
            member=member,
            of=told[member],
            averaged=int(mine.sum()),
            value=float(np.mean(values[mine])),
            transfer_seed=record.resolved.transfer_seed,
            rate=numbers.get("rate"),
            steps=_whole(numbers.get("steps")),
            held_out_error=numbers.get("validation_error"),
            converged=_whole(numbers.get("converged")),
        )
        for metric, values in outcome.metrics.items()
        for member, mine in _snapshots(fields).items()
    ]


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def system_details(
    outcomes: Mapping[ModelKey, Outcome], fields: Fields, channels: Channels
) -> xr.Dataset:
    """The group of one system in evaluation.h5."""
    known = next(iter(outcomes.values())).metrics
    variables = {
        name: xr.Variable(
            ("model", "member", "sample"),
            np.stack([_by_member(o.metrics[name], fields) for o in outcomes.values()]),
            {"long_name": text},
        )
        for name, text in METRICS.items()
        if name in known
    }
    spectra = [outcome.spectrum for outcome in outcomes.values() if outcome.spectrum is not None]
    coordinates = {}
    if spectra:
        exact = spectra_of_members(exact_of(fields, channels), fields)
        axes = ("member", "layer", "wavenumber")
        words = "sum of |Π̂| by shell (corner modes left out)"
        variables["pi_spectrum"] = _stored(
            ("model", *axes), np.stack(spectra), f"{words}, predicted"
        )
        variables["pi_spectrum_true"] = _stored(axes, exact, f"{words}, exact")
        coordinates["wavenumber"] = ("wavenumber", np.arange(1.0, exact.shape[-1] + 1))
    told = pieces_of(fields)
    samples = sorted({sample for _, sample in fields.origin})
    members = sorted(set(fields.numbers))
    return xr.Dataset(
        variables,
        {
            "model": ("model", np.array([str(key) for key in outcomes])),
            "member": ("member", np.array(members), {"long_name": "test member"}),
            "sample": ("sample", np.array(samples), {"long_name": "sample number"}),
            "of": ("member", np.array([told[m] for m in members])),
            **coordinates,
        },
    )


def history_details(subjects: Sequence[Subject]) -> xr.Dataset:
    """The group `history` of evaluation.h5: curves padded with NaN to the longest."""
    curves = [subject.model.record.history.model_dump() for subject in subjects]
    numbers = [subject.model.record.metrics for subject in subjects]
    epochs = max(len(curve["train"]) for curve in curves)
    variables = {}
    for part in ("train", "validation"):
        padded = np.full((len(subjects), epochs), np.nan)
        for row, curve in zip(padded, curves, strict=True):
            row[: len(curve[part])] = curve[part]
        text = f"mean squared error of the normalised subgrid term, {part} samples"
        variables[part] = xr.Variable(("model", "epoch"), padded, {"long_name": text})
    for name in ("parameters", "samples"):
        values = np.array([found[name] for found in numbers], dtype=np.float64)
        attributes = {"units": "1", "long_name": f"{name} of the training"}
        variables[f"trained_{name}"] = xr.Variable(("model",), values, attributes)
    names = np.array([str(subject.key) for subject in subjects])
    return xr.Dataset(variables, {"model": ("model", names), "epoch": np.arange(1, epochs + 1)})


def middle_snapshot(fields: Fields) -> int:
    """Place of the middle snapshot of the first test member."""
    first = np.flatnonzero(next(iter(_snapshots(fields).values())))
    return int(first[len(first) // 2])


def example_details(
    shown: Mapping[str, tuple[Model, Normalisation]], fields: Fields
) -> tuple[xr.Dataset, dict[str, int]]:
    """The group `examples` of evaluation.h5, and which snapshot it shows.

    shown: name -> model, and what the fields are normalised by for it.
    """
    place = middle_snapshot(fields)
    chosen = fields.part(slice(place, place + 1))
    channels = next(iter(shown.values()))[0].network.channels
    pictures = [exact_of(chosen, channels)[0].astype(np.float64)]
    pictures += [predict(m.network, by, chosen.values)[0] for m, by in shown.values()]
    axes = ("layer", "y", "x")
    words = ", ".join(channels.outputs)
    given = {
        name: _stored(axes, chosen.values[name][0], schema.VARIABLES[name])
        for name in ("psi", "omega")
        if name in chosen.values
    }
    ny, nx = pictures[0].shape[-2:]
    group = xr.Dataset(
        {
            "pi": _stored(
                ("field", *axes),
                np.stack(pictures),
                "subgrid term" if words == "pi" else f"outputs: {words}",
            ),
            **given,
        },
        {
            "field": np.array(["exact", *shown]),
            "y": np.arange(ny) * (BOX / ny),
            "x": np.arange(nx) * (BOX / nx),
        },
    )
    member, sample = fields.origin[place]
    return group, {"example_member": member, "example_sample": sample}


def _stored(dims: tuple[str, ...], values: RealArray, text: str) -> xr.Variable:
    """A variable as it is stored: a lone layer has no dimension of its own."""
    layer = dims.index("layer")
    if values.shape[layer] == 1:
        dims, values = (*dims[:layer], *dims[layer + 1 :]), values.squeeze(layer)
    return xr.Variable(dims, values, {"long_name": text})


def pieces_of(fields: Fields) -> dict[int, str]:
    """Test member, or piece of one -> what it is in the dataset."""
    return {m: f"member {m}" for m in fields.numbers} | {b.number: str(b) for b in fields.blocks}


def _snapshots(fields: Fields) -> dict[int, BoolArray]:
    """Test member, or piece of one, in order -> which snapshots are its own, (snapshot,)."""
    owner = np.array(fields.numbers)
    return {int(member): owner == member for member in np.unique(owner)}


def spectra_of_members(pi: RealArray, fields: Fields) -> FloatArray:
    """Sum of |Π̂| by shell, mean over each member's snapshots: (member, layer, wavenumber)."""
    spectra = shell_spectrum(pi)
    return np.stack([spectra[mine].mean(axis=0) for mine in _snapshots(fields).values()])


def _by_member(values: FloatArray, fields: Fields) -> FloatArray:
    """Values of the snapshots as a table (member, sample); NaN where a member has no such one."""
    members = sorted(set(fields.numbers))
    samples = sorted({sample for _, sample in fields.origin})
    table = np.full((len(members), len(samples)), np.nan)
    for value, member, (_, sample) in zip(values, fields.numbers, fields.origin, strict=True):
        table[members.index(member), samples.index(sample)] = value
    return table
