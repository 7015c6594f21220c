"""A trained network as a closure: Π from ψ̄ and ω̄ on the coarse grid it was trained on.

Reading a case must load neither torch nor xarray, so what needs them is imported where it is
called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from eddyscope.artefacts.dataset.derived import DERIVED, with_derived
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import read_model
from eddyscope.artefacts.normalisation import Way, read_normalisation
from eddyscope.closures.base import ClosureSettings, Sources, SubgridModel
from eddyscope.closures.on_points import OnPoints
from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.flows.base import Flow
from eddyscope.networks.settings import Channels, channel_names, field_of
from eddyscope.spectral.grid import BOX

__all__ = ["Learned"]

BEST = "best"
"""In place of a model: the best single layer, as evaluated."""

BATCH = 8
"""Members predicted at once on a CPU, which bounds the memory of activations."""


class Learned(SubgridModel):
    """Π by a model that the case makes, normalised as its file says or in another way."""

    class Settings(ClosureSettings):
        kind: Literal["learned"] = "learned"
        model: str = Field(min_length=1)
        """Name of a model: "base", "l02", "all", …; "best" is the best single layer."""
        normalisation: Way | None = None
        """How its fields are normalised; by default as the model's file says: the base model by
        the base's statistics, the others as in transfer.normalisation."""

        @property
        def text(self) -> str:
            way = self.normalisation
            return f"{self.model},normalisation={way}" if way else self.model

        def check(self, models: Sequence[str], kinds: Sequence[str]) -> None:
            if self.model == BEST:
                _check_best(models)
            if self.model in (BEST, *models):
                return
            plain = [kind for kind in kinds if kind != self.kind]
            hint = did_you_mean(self.model, [*plain, BEST, *models])
            raise CaseError(
                f"les.closures names {self.model!r}; allowed: {', '.join([*plain, BEST, *models])}"
                + (f"; {hint}" if hint else "")
            )

        def check_channels(self, channels: Channels, layers: int) -> None:
            wanted, known = tuple(channel_names("pi", layers)), ("psi", *DERIVED)
            if channels.outputs != wanted:
                raise CaseError(
                    f"the network gives {', '.join(channels.outputs)}, but a simulation needs "
                    f"{', '.join(wanted)}, the subgrid term; set les.closures to what needs none"
                )
            unknown = [n for n in channels.inputs if field_of(n, layers)[0] not in known]
            if unknown:
                raise CaseError(
                    f"a simulation does not know the network's input {', '.join(unknown)}; it has "
                    f"{', '.join(known)}; set les.closures to what needs none"
                )

        def key(self, sources: Sources) -> ModelKey:
            """The model's. CaseError if what is best is not known yet."""
            if self.model != BEST:
                return ModelKey.parse(self.model)
            from eddyscope.artefacts.evaluation import read_best

            return read_best(sources.evaluation)

        def chosen_by(self, sources: Sources) -> tuple[Path, ...]:
            return (sources.evaluation,) if self.model == BEST else ()

        def reads(self, sources: Sources) -> tuple[Path, ...]:
            model = sources.model(self.key(sources))
            if self.normalisation is None:
                return (model,)
            return model, sources.model(ModelKey()), sources.normalisation

    def __init__(self, settings: Settings, sources: Sources):
        from eddyscope.learning.models import load_model

        super().__init__(settings, sources)
        self.model = load_model(sources.model(settings.key(sources)), sources.network)
        self.normalisation = self.model.normalisation
        if settings.normalisation:
            base = read_model(sources.model(ModelKey())).record.normalisation
            own = base, read_normalisation(sources.normalisation)
            self.normalisation = self.model.normalisation_under(settings.normalisation, *own)

    @property
    def way(self) -> str:
        return self.normalisation.name

    @property
    def key(self) -> ModelKey:
        return self.model.key

    def on(self, flow: Flow, filter_width: float) -> OnPoints:
        """Raises CaseError on a grid that the model was not trained on."""
        n = self.model.record.grid.n
        if flow.transform.grid.n != n:
            raise CaseError(
                f"model {str(self.model.key)!r} was trained on {n} x {n} points, but is asked for "
                f"{flow.transform.grid.n} x {flow.transform.grid.n}: its kernels reach a number "
                "of points, not a length; use a model trained on that grid"
            )
        taken = self.model.network.channels.fields(flow.layers)
        if flow.transform.on_host or not {"psi", "omega", "pi"}.issuperset(taken):
            return OnPoints(self.pi, flow)
        return OnPoints(self.pi_of_tensors, flow, takes_host_arrays=False)

    def pi(self, psi: FloatArray, omega: FloatArray) -> FloatArray:
        """Π in physical units, (member, layer, y, x), as psi and omega are."""
        from eddyscope.learning.prediction import predict

        given = {"psi": psi, "omega": omega}
        names = self.model.network.channels.fields(psi.shape[1])
        values = with_derived(given, [n for n in names if n != "pi"], (BOX, BOX))
        return predict(self.model.network, self.normalisation, values, BATCH)

    def pi_of_tensors(self, psi: AnyArray, omega: AnyArray) -> AnyArray:
        """The same of tensors, on the device where they are."""
        from eddyscope.learning.prediction import predict_tensors

        return predict_tensors(self.model.network, self.normalisation, psi, omega)


def _check_best(models: Sequence[str]) -> None:
    """Raise CaseError where a case that makes these models has none of a single layer."""
    if not any(ModelKey.parse(name).is_single_layer for name in models):
        raise CaseError(
            'les.closures names "best", the best single layer, but no layer is re-trained alone; '
            'leave it out, or name at least one layer alone in transfer.layers, or set it to "each"'
        )
