"""Making one model from the base model and a few target samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model import Model, load_model, save_model
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.learning.adapt import adaptation_named, best_scale, scaled_output
from eddyscope.learning.batches import Samples, load_fields
from eddyscope.learning.history import History
from eddyscope.learning.trainer import Recipe, Saved, mean_loss, train
from eddyscope.learning.variants import SCALE, Variant
from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.parallel.world import World

__all__ = ["Retraining", "Target"]


@dataclass(frozen=True)
class Target:
    """The target's samples as re-training sees them, the same on every rank."""

    samples: Samples
    validation: Samples | None
    normalisation: Normalisation
    digest: str
    """Of the dataset."""
    grid: dict[str, Any]
    """n and filter width."""

    @classmethod
    def of(cls, dataset: Dataset, n: int, count: int) -> Target:
        """`count` training samples, and as many for validation if there are that many.

        The normalisation knows these samples only. Not collective. Raises CaseError.
        """
        dataset.require(n, "train")
        fields = load_fields(dataset, n, "train", count)
        normalisation = Normalisation.own("target", fields.by_name())
        available = len(dataset.parts["validation"]) * dataset.samples
        held_out = load_fields(dataset, n, "validation", min(available, count))
        return cls(
            samples=Samples.of(fields, normalisation),
            validation=Samples.of(held_out, normalisation) if held_out.origin else None,
            normalisation=normalisation,
            digest=dataset.digest,
            grid={"n": n, "filter_width": dataset.filter_width[n]},
        )


@dataclass(frozen=True)
class Retraining:
    """How every variant of one base model is made and saved."""

    base: Model
    parent: str
    """SHA-256 of the base model's file."""
    target: Target
    recipe: Recipe
    """Its key is the case's seed; the variant's repeat is added to it."""
    folder: Path
    provenance: dict[str, Any] = field(default_factory=dict)

    def is_made(self, variant: Variant) -> bool:
        """Whether a sound artefact of `variant`, made from this base model, is on the disk."""
        path = variant.path(self.folder)
        try:
            return bool(load_model(path).metadata["parent"] == self.parent)
        except CaseError:
            return False  # missing, or cut short by a kill: it is made again

    def make(self, variant: Variant, world: World, report: Callable[[int, str], None]) -> None:
        """Re-train and save `variant`. Collective over `world`. Raises BlewUp."""
        began = time.monotonic()
        if variant.name == SCALE:
            network, retrained, count, history = self._scaled(world)
        else:
            network, retrained, count, history = self._trained(variant, world, report)
        metadata = {
            "grid": self.target.grid,
            "retrained": retrained,
            "parent": self.parent,
            "history": history.as_dict(),
            "metrics": {
                "samples": len(self.target.samples),
                "parameters": count,
                "train_loss": history.train[-1] if history.train else None,
                "validation_loss": history.validation[-1] if history.validation else None,
                "seconds": time.monotonic() - began,
                "ranks": world.size,
                "seed": variant.seed,
            },
            "provenance": {**self.provenance, "dataset": self.target.digest},
        }
        model = Model(network, self.target.normalisation, variant.name, metadata)
        world.on_root(lambda: save_model(variant.path(self.folder), model))
        world.on_root(lambda: self._checkpoint(variant).unlink(missing_ok=True))

    def _trained(
        self, variant: Variant, world: World, report: Callable[[int, str], None]
    ) -> tuple[ClosureNetwork, list[str], int, History]:
        key = (*self.recipe.key, 1 + variant.seed)
        base = self.base.network
        adaptation = adaptation_named(variant.name, base.names, key)
        module = adaptation.module(base)
        count = sum(p.numel() for p in module.parameters() if p.requires_grad)
        saved = Saved(self._checkpoint(variant), self._identity(variant))
        history = train(
            module,
            self.target.samples,
            self.target.validation,
            replace(self.recipe, key=key),
            world,
            saved,
            report,
        )
        return adaptation.folded(module), adaptation.retrained(base), count, history

    def _scaled(self, world: World) -> tuple[ClosureNetwork, list[str], int, History]:
        base, samples = self.base.network, self.target.samples
        network = scaled_output(base, best_scale(base, samples, self.recipe.batch_size))
        history = History()
        for part, losses in (
            (samples, history.train),
            (self.target.validation, history.validation),
        ):
            if part is not None:
                losses.append(mean_loss(network, part, self.recipe.batch_size, world))
        return network, [base.names[-1]], 1, history

    def _checkpoint(self, variant: Variant) -> Path:
        return variant.path(self.folder).with_suffix(".ckpt")

    def _identity(self, variant: Variant) -> str:
        """Of all that decides the trained weights."""
        recipe = {k: v for k, v in vars(self.recipe).items() if k != "checkpoint_every"}
        return provenance.digest(
            {
                "variant": [variant.name, variant.seed],
                "recipe": recipe,
                "parent": self.parent,
                "dataset": self.target.digest,
                "samples": len(self.target.samples),
                "n": self.target.grid["n"],
            }
        )
