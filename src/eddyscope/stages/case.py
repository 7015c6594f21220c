"""The whole case file: the rooms' own settings put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from eddyscope.advisor.settings import AdviseSettings
from eddyscope.analysis.settings import AnalysisSettings
from eddyscope.artefacts.dataset.schema import SYSTEMS, EnsembleSettings
from eddyscope.artefacts.key import ModelKey
from eddyscope.closures.settings import LesSettings
from eddyscope.config.case import Section, load
from eddyscope.config.errors import CaseError, together
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Choice
from eddyscope.config.streams import integer_seed
from eddyscope.filtering.kernels import FILTERS, Gaussian
from eddyscope.flows.base import FlowSettings
from eddyscope.flows.registry import FLOWS
from eddyscope.learning.adaptations.base import Adaptation
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
from eddyscope.storage.drivers.registry import StorageSettings

__all__ = ["SAMPLES_OF", "SYSTEMS", "Case", "SystemSettings", "load_case"]

SAMPLES_OF = dict(zip(SYSTEMS, ("training.samples", "transfer.samples"), strict=True))
"""System -> the setting that says how many of its samples a network is trained on."""


class SystemSettings(Section):
    """`[base.…]` or `[target.…]`: a flow and the ensemble that samples it."""

    flow: Annotated[Any, Choice(FLOWS)]
    """What evolves."""
    ensemble: EnsembleSettings


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
    grid: GridSettings
    transform: Annotated[Any, Choice(TRANSFORMS, default="fftw")] = Fftw.Settings()
    """How fields are transformed, and on what."""
    time: TimeSettings
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

    @model_validator(mode="after")
    def _fits_together(self) -> Case:
        """What sections ask of one another; each has checked itself."""
        together(
            self._check_grids,
            lambda: check_grid(self.network, self.network_grid),
            lambda: check_transfer(self.transfer, self.layer_names),
            lambda: self.advise.check_samples(self.transfer.samples),
        )
        return self

    def _check_grids(self) -> None:
        for n in self.filter.n:
            if n > self.grid.n:
                raise ValueError(
                    f"filter.n = {n} is finer than grid.n = {self.grid.n}; use a coarse grid of "
                    f"at most {self.grid.n}"
                )
        if self.network.n is not None and self.network.n not in self.filter.n:
            raise ValueError(
                f"network.n = {self.network.n} is not among filter.n = {self.filter.n}"
            )

    @property
    def network_grid(self) -> int:
        """The coarse grid that the network works on."""
        n: int = self.network.n or self.filter.n[0]
        return n

    @property
    def channels(self) -> Channels:
        """What the network takes and gives: the fields of the flow's layers."""
        system = self.base or self.target
        return Channels.of_flow(FLOWS[system.flow.kind].layers if system else 1)

    @property
    def flows(self) -> dict[str, FlowSettings]:
        """System that the case has -> the settings of its flow."""
        systems = {name: getattr(self, name) for name in SYSTEMS}
        return {name: system.flow for name, system in systems.items() if system}

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
        settings: SystemSettings | None = getattr(self, name)
        if settings is None:
            other = next((other for other in SYSTEMS if getattr(self, other)), None)
            alone = f", or simulate the other alone: dns --system {other}" if other else ""
            raise CaseError(
                f"the case has no [{name}] system; add [{name}.flow] and [{name}.ensemble]{alone}"
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

    def test_members(self, system: str) -> list[int]:
        """Members of a system that no training sees. CaseError if there are none."""
        ensemble = self.system(system).ensemble
        if not ensemble.parts["test"]:
            raise CaseError(
                f"the {system} ensemble has no test members; raise {system}.ensemble.members (now "
                f"{ensemble.members}) to 2 or more, or set {system}.ensemble.split"
            )
        return list(ensemble.parts["test"])

    def resolved(self) -> dict[str, Any]:
        """The case with all defaults, as plain JSON-like values."""
        return self.model_dump(mode="json", serialize_as_any=True)


def load_case(path: str | Path, overrides: Sequence[str] = ()) -> Case:
    """Read and validate a case file; overrides: as on the command line. Not collective.

    Raises CaseError, a line for each fault.

    >>> import eddyscope
    >>> case = eddyscope.load_case("configs/quickstart.toml", ["grid.n=64"])
    >>> case.grid.n, case.target.ensemble.members
    (64, 4)
    """
    return load(path, Case, overrides)
