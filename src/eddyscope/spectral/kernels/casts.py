"""Tensors under the names that rooms which know no torch have for arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from eddyscope.config.arrays import AnyArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["array_of", "tensor_of"]


def tensor_of(array: AnyArray) -> Tensor:
    """An array of a transform whose arrays are tensors, as what it is."""
    return cast("Tensor", array)


def array_of(tensor: Tensor) -> AnyArray:
    """A tensor, as rooms that know no torch handle it."""
    return cast(AnyArray, tensor)
