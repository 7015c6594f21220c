"""Which re-trainings a case asks for, and how they are called. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eddyscope.learning.settings import TransferSettings

__all__ = [
    "SCALE",
    "Variant",
    "names_of",
    "single_layers",
    "variants_of",
]

SCALE = "scale"
"""The floor under every re-training: the base model times one number, found by least squares."""


@dataclass(frozen=True)
class Variant:
    """One model to be made of the base model: what is re-trained, and which repeat it is."""

    name: str
    """"l02", "l02+l05", "gain", "all", "scratch" or "scale"."""
    seed: int = 0
    """Repeat, counted from 0."""

    def path(self, folder: Path) -> Path:
        """<folder>/l02.safetensors; further repeats are in <folder>/seed1/, seed2/, …"""
        place = folder / f"seed{self.seed}" if self.seed else folder
        return place / f"{self.name}.safetensors"


def names_of(settings: TransferSettings, layers: Sequence[str]) -> list[str]:
    """Names of all that is compared, in a fixed order: layers, controls, the floor."""
    chosen = layers if isinstance(settings.layers, str) else settings.layers
    return list(dict.fromkeys([*chosen, *settings.controls, SCALE]))


def single_layers(names: Sequence[str]) -> list[str]:
    """Those of `names` that re-train one layer alone."""
    return [name for name in names if name[:1] == "l" and name[1:].isdigit()]


def variants_of(settings: TransferSettings, layers: Sequence[str]) -> list[Variant]:
    """Every re-training of a case: all names, each repeated for every seed.

    The floor has no random part, so it is made once.
    """
    names = names_of(settings, layers)
    return [
        Variant(name, s)
        for s in range(settings.seeds)
        for name in names
        if not (s and name == SCALE)
    ]
