"""Fields that are filtered already: taken as they are, with ψ or ω computed from the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.importer.fill import Made
from eddyscope.artefacts.dataset.importer.relation import deviation, likely_reason
from eddyscope.artefacts.dataset.importer.request import Request
from eddyscope.artefacts.dataset.importer.sources import Blocks, Stack
from eddyscope.artefacts.dataset.layout import Layout
from eddyscope.config.arrays import FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.parallel.reduce import largest
from eddyscope.parallel.world import World
from eddyscope.spectral.rectangle import minus_inverse_laplacian, minus_laplacian

__all__ = ["CoarseFields", "coarse_layout"]

FEWEST = 4
"""Points a side of a grid."""

UNUSUAL = 0.03
"""Mean of omega · pi over that of its size, above which pi may have the other sign: on the mean the
scales that are filtered out take enstrophy."""


def coarse_layout(
    request: Request, stacks: Mapping[str, Stack], times: tuple[float, ...]
) -> Layout:
    """The dataset of such fields. CaseError where they cannot make one."""
    first = next(iter(stacks.values()))
    members, _samples, layers, ny, nx = first.shape
    if min(ny, nx) < FEWEST:
        raise CaseError(f"the fields have {ny} x {nx} points; give at least {FEWEST} a side")
    names = {*stacks, *_computed(request, layers)}
    told = {**schema.VARIABLES, **{name: f"{name}, as imported" for name in stacks}}
    told |= schema.VARIABLES
    fields = {name: text for name, text in told.items() if name in names}
    # Of a periodic axis the length alone says where the points are: the origin means nothing.
    y, x = (
        None if yes else p
        for p, yes in zip(first.parts[0].points, request.box.periodic, strict=True)
    )
    box = replace(request.box, told=(y, x))
    spacing = box.length[1] / (nx if box.periodic[1] else nx - 1)
    return Layout(
        members=members,
        sample_times=times,
        record_times=(),
        n_shells=0,
        grids={nx: (request.width or 1.0) * spacing},
        dtype=request.precision,
        layers=layers,
        fields=fields,
        rows=None if ny == nx else ny,
        box=box,
    )


def _computed(request: Request, layers: int) -> set[str]:
    """What is computed: ψ or ω, where the other is given and it follows from that."""
    given = {"psi", "omega"} & request.sources.keys()
    follows = layers == 1 and all(request.box.periodic)
    return {"psi", "omega"} - given if len(given) == 1 and follows else set()


@dataclass
class CoarseFields:
    """Makes samples of fields as they are given."""

    request: Request
    stacks: Mapping[str, Stack]
    blocks: Blocks
    layout: Layout
    farthest: float = 0.0
    """Largest deviation between psi and omega that was met on this rank."""
    transfers: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    """Mean of omega · pi, and of |omega · pi|, of each member and sample on this rank."""

    @property
    def _related(self) -> bool:
        """Whether ψ and ω are given both, and each follows from the other."""
        both = {"psi", "omega"} <= self.stacks.keys()
        return both and self.layout.layers == 1 and all(self.layout.box.periodic)

    def make(self, member: int, sample: int) -> Made:
        """One sample of one member. Not collective; CaseError where ψ and ω do not fit."""
        fields = {
            name: self.blocks.read(stack, member, sample) for name, stack in self.stacks.items()
        }
        length = self.layout.box.length
        if self._related:
            self._check(fields["psi"][0], fields["omega"][0], member, sample)
        for name in self.layout.fields.keys() - fields.keys():
            if name == "omega":
                fields[name] = minus_laplacian(fields["psi"], length)
            else:
                fields[name] = minus_inverse_laplacian(fields["omega"], length)
        if {"omega", "pi"} <= fields.keys():
            product = fields["omega"] * fields["pi"]
            means = float(product.mean()), float(np.abs(product).mean())
            self.transfers[member, sample] = means
        (n,) = self.layout.grids
        return Made({n: fields})

    def _check(self, psi: FloatArray, omega: FloatArray, member: int, sample: int) -> None:
        length = self.layout.box.length
        apart = deviation(psi, omega, length)
        self.farthest = max(self.farthest, apart)
        if apart > self.request.tolerance:
            scale = self.stacks["psi"].scale
            raise CaseError(
                f"psi and omega do not fit laplacian(psi) = -omega: velocities differ by "
                f"{apart:.2g} in member {member}, sample {sample}, allowed "
                f"{self.request.tolerance:g}; {likely_reason(psi, omega, length, scale)}"
            )

    def findings(self, world: World) -> list[str]:
        """What was found on the way, a line each. Collective."""
        lines = []
        if self._related:
            apart = float(largest(world.comm, self.farthest))
            lines.append(f"psi and omega fit: their velocities differ by at most {apart:.2g}")
        met = [item for part in world.comm.allgather(self.transfers) for item in part.items()]
        if not met:
            return lines
        means = np.array([value for _, value in sorted(met)])
        mean, size = means.mean(axis=0)
        share = mean / size if size > 0.0 else 0.0
        does = "drains enstrophy from" if mean < 0.0 else "adds enstrophy to"
        lines.append(
            f"mean of omega * pi: {mean:.3g} ({share:+.0%} of its mean size), so pi {does} the "
            "resolved flow on the mean"
        )
        if share > UNUSUAL:
            lines.append(
                "warning: that is unusual; if "
                "yours stands on the left-hand side, import it again with --scale pi="
                f"{-self.stacks['pi'].scale:g}"
            )
        return lines
