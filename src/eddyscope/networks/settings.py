"""Settings of networks. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from eddyscope.config.case import Section

__all__ = ["NetworkSettings", "layer_names"]


def layer_names(depth: int) -> list[str]:
    """Names of the convolutions, first to last: l01, l02, …"""
    return [f"l{i:02d}" for i in range(1, depth + 1)]


class NetworkSettings(Section):
    """`[network]`: convolutions with ReLU between them, (psi, omega) -> pi."""

    n: int | None = None
    """Coarse grid it works on, among filter.n; by default the smallest."""
    depth: int = Field(default=11, ge=2, le=99)
    """Convolutions."""
    width: int = Field(default=64, ge=1)
    """Channels of the hidden layers."""
    kernel_size: int = Field(default=5, ge=1)
    """Side of the kernels (odd)."""
    padding: Literal["circular", "zeros"] = "circular"
    """What lies beyond the edge; circular is exact on a periodic box."""

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"must be odd; use {size - 1} or {size + 1}")
        return size
