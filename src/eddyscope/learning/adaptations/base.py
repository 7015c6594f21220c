"""What every adaptation offers. Imports no torch, so that case files are read fast.

An adaptation makes a module whose own parameters alone can be trained (`module`), trains or
solves for them (`fit`), and turns the module back into a network of the base model's
architecture (`folded`) between factors of its channels (`scales`), so that every model on the disk
is of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from eddyscope.artefacts.key import adaptation_text
from eddyscope.artefacts.normalisation import Way
from eddyscope.artefacts.role import Role
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.learning.batches import Samples
    from eddyscope.networks.base import LayeredModel

__all__ = ["Adaptation", "Task", "Train", "Usual", "check_layers"]


class Train(Protocol):
    """Trains those parameters of a module that require gradients, in place. Collective."""

    def __call__(
        self,
        module: nn.Module,
        *,
        samples: Samples | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        """samples: by default the task's. factors: of the learning rate, by the full names of
        parameters in `module`; 1 for those that are not named."""


@dataclass(frozen=True)
class Task:
    """What a module is adapted to, and how it can be trained."""

    samples: Samples
    batch_size: int
    """Samples a step, and a forward pass."""
    train: Train
    base_samples: Callable[[int], Samples] | None = None
    """Loads so many training samples of the base system, normalised in the same way; there for
    adaptations that read them. Collective; raises CaseError."""


class Adaptation(Protocol):
    """A way to make a model from a base model and a few target samples."""

    is_trained: ClassVar[bool]
    """Whether it takes epochs, in a random order of the samples; else it has a closed form,
    has no random part, and is made once."""
    role: ClassVar[Role]
    """Its role in a comparison; kept with each model, where the report finds it."""
    way: ClassVar[Way | None]
    """How the target's fields are normalised for it, whatever the case says; None: as that says."""

    @property
    def text(self) -> str:
        """How it is written in a model's name, see `artefacts/key.py`."""

    @property
    def words(self) -> str:
        """What is re-trained, in few words that readers understand; kept with each model."""

    def check(self, layers: Sequence[str]) -> None:
        """Raise CaseError unless a network with these layers can be adapted so."""

    def base_samples(self, samples: int) -> int:
        """How many training samples of the base it looks at beside so many of the target."""

    def check_sizes(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        """The same for the numbers that each layer has to train, by name; it takes torch to know
        them."""

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        """A module apart from `base` in which only what is adapted requires gradients; its
        random weights, if any, are drawn from `key`."""

    def count(self, module: nn.Module) -> int:
        """How many numbers are adapted in a `module` of `self.module`."""

    def fit(self, module: nn.Module, task: Task) -> None:
        """Adapt `module` to the samples, by training or by a closed form. Collective."""

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        """The adapted `module` as a network like `base`: with `scales`, the same. Exact."""

    def scales(self, module: nn.Module) -> Mapping[str, float]:
        """Channel -> factor of what that network is given, or gives; 1 where there is none."""


class Usual:
    """What most adaptations answer: trained by gradients, without a parameter, for any network,
    in a module that is a network like the base model's, a control, with no words but its text."""

    is_trained: ClassVar[bool] = True
    role: ClassVar[Role] = "control"
    way: ClassVar[Way | None] = None

    def __init__(self, settings: Section):
        self.settings = settings

    @property
    def text(self) -> str:
        return adaptation_text(str(self.settings.kind), {})  # type: ignore[attr-defined]

    @property
    def words(self) -> str:
        return self.text

    def check(self, layers: Sequence[str]) -> None:
        """Every network can be adapted so."""

    def base_samples(self, samples: int) -> int:
        return 0

    def check_sizes(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        """Layers of all sizes can."""

    def count(self, module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters() if p.requires_grad)

    def fit(self, module: nn.Module, task: Task) -> None:
        task.train(module)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        return base.of(module)

    def scales(self, module: nn.Module) -> Mapping[str, float]:
        return {}


def check_layers(named: Sequence[str], layers: Sequence[str]) -> None:
    """Raise CaseError unless all `named` layers are among a network's `layers`."""
    for name in named:
        if name not in layers:
            hint = did_you_mean(name, layers)
            raise CaseError(
                f"no layer {name!r}: the network has {layers[0]} … {layers[-1]}"
                + (f"; {hint}" if hint else "")
            )
