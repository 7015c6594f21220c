"""What callers give, checked: every complaint is a CaseError of one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from pydantic import ValidationError

from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError, one_line
from eddyscope.config.explain import explain
from eddyscope.parallel.world import World

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Choosing",
    "alone",
    "number",
    "numbers",
    "require_no_mean",
    "square_field",
    "validated",
    "with_arguments",
]

S = TypeVar("S", bound=Section)

Choosing = str | Mapping[str, object]
"""A choice as a case file has it: a name, or a table with `kind`."""

SAME = 1e-6
"""Share of a field's root mean square that its mean may be, as rounding leaves it."""

SHOWN = 80
"""Characters of a wrong value that are shown."""

LARGEST = 1e100
"""Of a field that is multiplied with others."""


@cache
def alone() -> World:
    """This process alone; one for all calls, since MPI has a limited number of communicators."""
    return World.single()


def validated(schema: type[S], given: Mapping[str, object]) -> S:
    """The section that `given` describes, as a table of a case file would. Raises CaseError."""
    tree = dict(given)
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        first, *more = (fault.words for fault in explain(error, schema, tree))
        raise CaseError(first, more) from None


@contextmanager
def with_arguments(names: Mapping[str, str]) -> Iterator[None]:
    """For the time of a `with` block, let errors name the caller's arguments in place of settings
    of a case file: setting -> argument, as in {"grid.n": "n"}."""
    longest_first = sorted(names, key=len, reverse=True)
    setting = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, longest_first))})(?!\w)")
    try:
        yield
    except CaseError as error:
        words = (setting.sub(lambda found: names[found[0]], w) for w in (str(error), *error.more))
        first, *more = words
        raise CaseError(first, more) from None


def number(value: object, what: str) -> float:
    """One number, as Python, numpy or torch has it. CaseError for anything else."""
    try:
        array = numbers(value, what)
    except CaseError:
        array = np.empty(0)
    if array.size != 1:
        raise CaseError(f"{what} = {one_line(repr(value))[:SHOWN]}: give one real number")
    return float(array.item())


def numbers(values: object, what: str) -> AnyArray:
    """What numpy, torch, xarray or a list has, as a numpy array in this machine's byte order.

    CaseError where it is no array, is masked, or is not of real numbers.
    """
    if hasattr(values, "detach"):
        tensor = cast("Tensor", values).detach().cpu()  # numpy takes no gradients and no GPU's
        values = tensor.float() if "bfloat16" in str(tensor.dtype) else tensor  # nor these
    try:
        array: AnyArray = np.asarray(values)
    except Exception as error:  # whatever the conversion of any object raises
        raise CaseError(f"{what}: no array of numbers ({one_line(error)})") from None
    if np.ma.is_masked(values):
        raise CaseError(f"{what} has values that are masked; fill them first")
    if array.dtype.kind not in "fiu":
        raise CaseError(f"{what} is of type {array.dtype}; give real numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def square_field(values: AnyArray, what: str) -> FloatArray:
    """Real fields on n × n points, axes (…, y, x), in double precision.

    CaseError where they are no such fields: vorticity and streamfunction of the periodic box.
    """
    array = numbers(values, what)
    if (
        array.ndim < 2
        or array.shape[-1] != array.shape[-2]
        or array.shape[-1] % 2
        or not array.size
    ):
        raise CaseError(
            f"{what} has shape {array.shape}; give (…, y, x) with as many points along y as along "
            "x, an even number"
        )
    field = array.astype(np.float64)
    if not np.isfinite(field).all():
        raise CaseError(f"{what} has {int(np.sum(~np.isfinite(field)))} values that are not finite")
    if np.abs(field).max() > LARGEST:
        raise CaseError(f"{what} reaches {np.abs(field).max():.3g}; products of it would overflow")
    return field


def require_no_mean(field: FloatArray, what: str) -> None:
    """CaseError unless the mean over each field (…, y, x) is zero: a periodic flow has none."""
    mean = np.abs(field.mean(axis=(-2, -1)))
    size = np.sqrt(np.square(field).mean(axis=(-2, -1)))
    if (mean > SAME * size).any():
        raise CaseError(
            f"{what} has a mean of {float(mean.max()):.3g}, but that of a periodic flow is 0; give "
            "vorticity with axes (…, y, x) on a whole period, or subtract its mean"
        )
