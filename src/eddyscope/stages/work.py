"""Work of a stage: steps that are done together, and what computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eddyscope.parallel.processors import Computing
from eddyscope.stages.case import Case
from eddyscope.stages.step import Step

__all__ = ["Work", "by_networks", "by_solver"]


@dataclass(frozen=True)
class Work:
    """Steps whose work is done together."""

    steps: Sequence[Step]
    do: Callable[[Sequence[Step]], None]
    """Called with those steps that are not complete, if there are any. Collective."""
    computing: Computing | None = None
    """What computes, which is said as it begins; None for what takes no time."""


def by_solver(case: Case, precision: str = "float64") -> Computing:
    """Of simulations; precision: the solver's, by default that of LES."""
    use = 'set transform.kind = "torch" to use them'
    return Computing(precision, case.transform.uses_gpu, use)


def by_networks() -> Computing:
    """Of networks that learn or are looked at, on GPUs where torch finds any."""

    def uses_gpu() -> bool:
        from eddyscope.parallel.torch_group import finds_gpu

        return finds_gpu()

    return Computing("float32", uses_gpu, "torch finds none; install a torch with CUDA")
