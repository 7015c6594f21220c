"""The whole case file: the rooms' own settings put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from eddyscope.advisor.settings import AdviseSettings
from eddyscope.analysis.settings import AnalysisSettings
from eddyscope.artefacts.dataset.derived import is_known, require_fields
from eddyscope.artefacts.dataset.named import Named
from eddyscope.artefacts.dataset.schema import SYSTEMS, VARIABLES
from eddyscope.artefacts.dataset.split import Block
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import ModelRecord
from eddyscope.artefacts.normalisation import lacking
from eddyscope.closures.settings import LesSettings
from eddyscope.config.case import Section, load
from eddyscope.config.errors import CaseError, together
from eddyscope.config.files import as_path
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Choice
from eddyscope.config.streams import integer_seed
from eddyscope.filtering.kernels import FILTERS, FilterSettings, Gaussian
from eddyscope.flows.base import FlowSettings
from eddyscope.learning.adaptations.base import Adaptation
from eddyscope.learning.recipes import check_training
from eddyscope.learning.selection import check_transfer, transfer_models
from eddyscope.learning.settings import Seeds, TrainingSettings, TransferSettings
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import NETWORKS, check_grid, layer_names
from eddyscope.networks.settings import Channels
from eddyscope.parallel.stop import StopSettings
from eddyscope.solver.checkpoint import CheckpointSettings
from eddyscope.solver.settings import TimeSettings
from eddyscope.spectral.backends.fftw import Fftw
from eddyscope.spectral.grid import GridSettings
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.stages.named import check_model, check_widths, filled, shared_grid, without_shells
from eddyscope.stages.system import SystemSettings
from eddyscope.storage.drivers.registry import StorageSettings
from eddyscope.study.axes import check_blocks

__all__ = ["SAMPLES_OF", "SPLITS_OF_CASE", "SYSTEMS", "Case", "SystemSettings", "load_case"]

SAMPLES_OF = dict(zip(SYSTEMS, ("training.samples", "transfer.samples"), strict=True))
"""System -> the setting that says how many of its samples a network is trained on."""

SPLITS_OF_CASE = tuple(f"{system}.ensemble.split" for system in SYSTEMS)
"""The settings that say which samples train and test."""


class Case(Section):
    """One case: a base system, a target system, and all that is done with them."""

    name: Annotated[str, CHANGES_NO_RESULT] = Field(max_length=100)
    """Of letters, digits, ".", "-" and "_"; by default the output folder is runs/<name>."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of all random numbers, and of training unless that has its own."""
    paired: bool = False
    """Whether member m of the target system draws the same random numbers as member m of the base
    system, in its initial condition and its forcing: runs in pairs that differ by their equation
    alone. Without it all members of both are independent."""
    grid: GridSettings | None
    """Of the simulations; not needed where both systems' datasets are named."""
    transform: Annotated[Any, Choice(TRANSFORMS, default="fftw")] = Fftw.Settings()
    """How fields are transformed, and on what."""
    time: TimeSettings | None
    """Of the simulations, likewise; and of les, where the datasets do not say it."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    stop: StopSettings = StopSettings()
    storage: StorageSettings = StorageSettings()
    base: SystemSettings | None = None
    target: SystemSettings | None = None
    filter: Annotated[Any, Choice(FILTERS, default="gaussian")] = Gaussian.Settings()
    """From the DNS to the resolution of the LES."""
    network: Annotated[Any, Choice(NETWORKS, default="cnn")] = Cnn.Settings()
    """What maps the filtered fields to the subgrid term."""
    training: TrainingSettings = TrainingSettings()
    transfer: TransferSettings = TransferSettings()
    advise: AdviseSettings = AdviseSettings()
    les: LesSettings = LesSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    study: Annotated[dict[str, object] | None, CHANGES_NO_RESULT] = None
    """Axes for `eddyscope study`: training_seeds, transfer_seeds, samples, normalisations, rates,
    adaptations, or any setting by its dotted name, each with a list of values; or several such
    tables, [[study.axes]]."""

    @field_validator("study")
    @classmethod
    def _axes(cls, study: dict[str, object] | None) -> dict[str, object] | None:
        if study is not None:
            check_blocks(study)
        return study

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if re.fullmatch(r"[\w.-]+", name) is None:
            raise ValueError(
                "may have letters, digits, '_', '.' and '-' alone: it names the output folder"
            )
        if name.strip(".") == "":
            raise ValueError("must have a letter or digit: it names the output folder")
        return name

    _record: ModelRecord | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _with_what_is_named(
        cls, given: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """What sections ask of one another; each has checked itself."""
        if not isinstance(given, dict):
            return handler(given)
        tree, record = filled(given, info)
        made = handler(tree)
        made._record = record
        together(
            made._check_grids,
            made._check_fields,
            made._check_normalisation,
            made._check_epochs,
            made._check_model,
            *(partial(check_grid, made.network, n) for n in made._sides),
            lambda: check_training(
                made.training, made.transfer, made.channels, made.without_shells
            ),
            lambda: check_transfer(made.transfer, made.layer_names),
            lambda: made.advise.check_samples(made.transfer.samples),
        )
        return made

    def _check_grids(self) -> None:
        simulated = [name for name, system in self.systems.items() if not system.named]
        if simulated and (self.grid is None or self.time is None):
            raise ValueError(f"[grid] and [time] are missing: {simulated[0]} is simulated")
        finest = self.grid.n if self.grid is not None else max(self.filter.n)
        for n in self.filter.n if simulated or not self.named else []:
            if n > finest:
                raise ValueError(
                    f"filter.n = {n} is finer than grid.n = {finest}; use a coarse grid of "
                    f"at most {finest}"
                )
        if self.network.n is not None and simulated and self.network.n not in self.filter.n:
            raise ValueError(
                f"network.n = {self.network.n} is not among filter.n = {self.filter.n}"
            )
        for name in simulated:
            own = self.filter_of(name).n
            if self.network_grid not in own or max(own) > finest:
                raise ValueError(
                    f"{name}.filter.n = {own}: must have the network's grid, {self.network_grid}, "
                    f"and none finer than grid.n = {finest}"
                )
        layers = {name: system.layers for name, system in self.systems.items()}
        if len(set(layers.values())) > 1:
            raise ValueError(
                f"base has {layers['base']} layers, target {layers['target']}: one network takes "
                "either; name systems of as many layers"
            )
        check_widths(self.named, self.network_grid)

    def _check_fields(self) -> None:
        """CaseError where a dataset does not have the fields of the network."""
        for name, system in self.systems.items():
            fields, periodic, where = tuple(VARIABLES), (True, True), f"the {name} dataset"
            if system.named:
                fields, periodic = system.named.fields, system.named.box.periodic
                where = f"{name}.dataset = {str(system.named.path)!r}"
            require_fields(
                self.channels.fields(system.layers), fields, periodic, system.layers, where
            )

    def _check_normalisation(self) -> None:
        """CaseError where the samples cannot be normalised for transfer as asked."""
        if not self.target or not (self.base or self._record):
            return
        known: dict[str, float | None] = {}
        for name in self.systems:
            system, named = getattr(self, name), getattr(self, name).named
            fields = named.fields if named else tuple(VARIABLES)
            periodic = named.box.periodic if named else (True, True)
            known[name] = 1.0 if is_known("omega", fields, periodic, system.layers) else None
        if self._record:
            known["base"] = self._record.normalisation.omega_rms
        why = lacking(self.transfer.normalisation, self.channels.names, known)
        if why:
            way = self.transfer.normalisation
            raise CaseError(f'transfer.normalisation = "{way}", but {why}')

    @property
    def _sides(self) -> list[int]:
        """Points along x and, where they are others, along y of the network's grid."""
        n = self.network_grid
        points = [named.points[n] for named in self.named.values() if n in named.points]
        return list(dict.fromkeys([n, *(side for shape in points for side in shape)]))

    def _check_epochs(self) -> None:
        """CaseError where nothing would be trained, and the network has random weights."""
        random = self.network.with_random_weights() == self.network
        if self.training.epochs == 0 and random and not self.training.model:
            raise CaseError(
                "training.epochs = 0, but the network begins with random weights; give at least 1, "
                'or weights of your own: network.kind = "user" and network.weights'
            )

    def _check_model(self) -> None:
        """CaseError where the base model that is named is not as the case says."""
        if self._record is not None:
            path = Path(self.training.model or "")
            check_model(self._record, path, self.network, self.channels)

    def filter_of(self, name: str) -> FilterSettings:
        """What a system is filtered with."""
        system: SystemSettings | None = getattr(self, name)
        own: FilterSettings | None = system.filter if system else None
        common: FilterSettings = self.filter
        return own or common

    @property
    def solver(self) -> tuple[GridSettings, TimeSettings]:
        """[grid] and [time], for what is simulated. CaseError if they are missing."""
        if self.grid is None or self.time is None:
            raise CaseError("[grid] and [time] are missing; simulations need both")
        return self.grid, self.time

    @property
    def named(self) -> dict[str, Named]:
        """System whose dataset is named -> what is known of that."""
        return {name: found for name, system in self.systems.items() if (found := system.named)}

    @property
    def without_shells(self) -> str:
        """Why spectra by shells are left out; empty where they are not."""
        return without_shells(self.named)

    @property
    def named_datasets(self) -> set[Path]:
        """The files of these datasets."""
        return {named.path for named in self.named.values()}

    @property
    def named_files(self) -> set[Path]:
        """All files that are named in place of what stages would make; they are never written."""
        return self.named_datasets | ({Path(self.training.model)} if self.training.model else set())

    @property
    def network_grid(self) -> int:
        """The coarse grid that the network works on."""
        if self._record is not None:
            return self._record.grid.n
        wanted: int = self.network.n or self.filter.n[0]
        given = self.network.n is not None or "filter" in self.model_fields_set
        simulated = len(self.named) < len(self.systems)
        return wanted if given or simulated else shared_grid(self.named, wanted)

    @property
    def systems(self) -> dict[str, SystemSettings]:
        """Those that the case has, by name."""
        found = {name: getattr(self, name) for name in SYSTEMS}
        return {name: system for name, system in found.items() if system is not None}

    @property
    def channels(self) -> Channels:
        """What the network takes and gives: the fields of the flow's layers."""
        system = self.base or self.target
        layers = system.layers if system else 1
        return Channels.of_fields(self.network.inputs, self.network.outputs, layers)

    def sample_shape(self, system: str) -> tuple[int, int, int]:
        """(channel, y, x) of a sample of a system, of inputs and outputs together."""
        n, named = self.network_grid, self.named.get(system)
        return (len(self.channels.names), *(named.points[n] if named else (n, n)))

    @property
    def flows(self) -> dict[str, FlowSettings]:
        """System of which the case knows the flow -> the flow's settings."""
        return {name: system.flow for name, system in self.systems.items() if system.flow}

    @property
    def layer_names(self) -> list[str]:
        """The network's layers, first to last."""
        return layer_names(self.network, self.channels, self.network_grid)

    def flow_seed(self, system: str) -> int:
        """Seed of what is random in a system's flow."""
        number = 0 if self.paired else SYSTEMS.index(system)
        return integer_seed("system", self.seed, number)

    @property
    def seeds(self) -> Seeds:
        """The seeds of training and of transfer."""
        return Seeds.of(self.seed, self.training, self.transfer)

    @property
    def transfer_models(self) -> dict[ModelKey, Adaptation]:
        """The models to be made from the base model, and how."""
        return transfer_models(self.transfer, self.layer_names)

    def system(self, name: str) -> SystemSettings:
        """The base or target system. CaseError if the case has none."""
        settings = self.systems.get(name)
        if settings is None:
            other = next(iter(self.systems), None)
            alone = f", or simulate the other alone: dns --system {other}" if other else ""
            raise CaseError(
                f"the case has no [{name}] system; add [{name}.flow] and [{name}.ensemble], or "
                f"{name}.dataset{alone}"
            )
        return settings

    @property
    def advise_samples(self) -> int:
        """Samples of each system that scores look at."""
        return self.advise.samples_of(self.transfer.samples)

    def wanted_samples(self, system: str) -> int | None:
        """Samples of a system that `train` or `transfer` is to see; None for all."""
        return self.training.samples if system == SYSTEMS[0] else self.transfer.samples

    def training_samples(self, system: str) -> int:
        """Samples of a system that `train` or `transfer` sees. CaseError if it has not as many."""
        ensemble, count = self.system(system).ensemble, self.wanted_samples(system)
        return ensemble.training_samples(system, SAMPLES_OF[system], count)

    def test_members(self, system: str) -> list[Block]:
        """What no training sees of a system: members, or pieces of them. CaseError if there is
        nothing."""
        ensemble = self.system(system).ensemble
        if not ensemble.parts["test"]:
            raise CaseError(
                f"the {system} ensemble has no test members; raise {system}.ensemble.members (now "
                f"{ensemble.members}) to 2 or more, or set {system}.ensemble.split: a long run may "
                'be split in time, {kind = "time", gap = 2.0}'
            )
        return list(ensemble.parts["test"])

    def resolved(self) -> dict[str, Any]:
        """The case with all defaults, as plain JSON-like values."""
        return self.model_dump(mode="json", serialize_as_any=True)


def load_case(
    path: str | Path, overrides: Sequence[str] = (), origin: str = "command line"
) -> Case:
    """Read and validate a case file; overrides: as on the command line, or from where `origin`
    says. Not collective.

    Raises CaseError, a line for each fault.

    >>> import eddyscope
    >>> case = eddyscope.load_case("configs/quickstart.toml", ["grid.n=64"])
    >>> case.grid.n, case.target.ensemble.members
    (64, 4)
    """
    if not isinstance(overrides, list | tuple) or not all(isinstance(o, str) for o in overrides):
        raise CaseError(f'overrides = {overrides!r}: give a list of texts, as in ["grid.n=64"]')
    return load(as_path(path), Case, overrides, origin)
