"""Communicators: the world a program runs in, and the mesh of members × y-pencils.

    world = World.launched()              # all ranks that mpirun or srun started
    mesh = world.mesh(members=6, rows=192)
    mesh.members                          # this rank's members, a slice of 0 … 5

A single 2D field can be split along one axis only (its rows in physical space, its
columns in spectral space), so the second process axis is the ensemble.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from mpi4py import MPI

from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite, known_to_all
from eddyscope.parallel.output import write

__all__ = ["Comm", "Mesh", "World", "block", "choose_mesh"]

T = TypeVar("T")

Comm = MPI.Intracomm
"""A communicator, for signatures in rooms that do not import MPI."""


def block(total: int, parts: int, index: int) -> slice:
    """Part `index` of `total` things in `parts` blocks, the larger blocks first."""
    size, extra = divmod(total, parts)
    start = index * size + min(index, extra)
    return slice(start, start + size + (index < extra))


@dataclass(frozen=True)
class World:
    """A communicator of our own with the few verbs that stages need."""

    comm: Comm
    quiet: bool = False
    """Whether nothing is printed: of one of several groups that are at work at a time."""

    @classmethod
    def launched(cls) -> World:
        """All ranks the launcher started, on a communicator apart from COMM_WORLD. Collective."""
        return cls(MPI.COMM_WORLD.Dup())

    @classmethod
    def single(cls) -> World:
        """This rank alone."""
        return cls(MPI.COMM_SELF.Dup())

    @property
    def rank(self) -> int:
        return self.comm.rank

    @property
    def size(self) -> int:
        return self.comm.size

    @property
    def is_root(self) -> bool:
        return self.comm.rank == 0

    def say(self, *words: object) -> None:
        """Print on rank 0, at once; if nobody reads it any more, the work goes on in silence."""
        if self.is_root and not self.quiet:
            write(" ".join(map(str, words)))

    def on_root(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0 and give every rank its result or error. Collective.

        Errors that all ranks raise together are CaseError and CannotWrite.
        """
        result: Any = None
        error: Exception | None = None
        if self.is_root:
            try:
                result = function()
            except (CaseError, CannotWrite) as raised:
                error = raised
        result, error = self.comm.bcast((result, error))
        if error is not None:
            raise known_to_all(self.comm, error)
        return result  # type: ignore[no-any-return]

    def split(self, groups: int) -> tuple[World, int]:
        """Deal the ranks to `groups` groups in contiguous blocks: (my group, its index).

        There are never more groups than ranks. Collective.
        """
        groups = min(groups, self.size)
        mine = next(
            g
            for g in range(groups)
            if block(self.size, groups, g).start <= self.rank < block(self.size, groups, g).stop
        )
        return World(_split(self.comm, mine, self.rank), self.quiet), mine

    def mesh(self, members: int, rows: int, shape: tuple[int, int] | None = None) -> Mesh:
        """The process mesh (members × y-pencils) of an ensemble of `members`. Collective.

        `rows` is the smallest number of rows (or columns, in spectral space) that a
        pencil split has to share out. Raises CaseError where no mesh fits.
        """
        shape = shape or choose_mesh(self.size, members, rows)
        check_mesh(shape, self.size, members, rows)
        along_members, along_rows = divmod(self.rank, shape[1])
        return Mesh(
            comm=self.comm,
            shape=shape,
            pencil_comm=_split(self.comm, along_members, along_rows),
            member_comm=_split(self.comm, along_rows, along_members),
            members=block(members, shape[0], along_members),
            ensemble=members,
        )


@dataclass(frozen=True)
class Mesh:
    """A Cartesian mesh of `shape` = (members, y-pencils), ranks in row-major order."""

    comm: Comm
    shape: tuple[int, int]
    pencil_comm: Comm
    """The ranks that share this rank's members and split their rows."""
    member_comm: Comm
    """The ranks that hold the same rows of other members."""
    members: slice
    """This rank's members among all."""
    ensemble: int
    """How many members there are on all ranks."""
    names: tuple[int, ...] = ()
    """What this rank's members are called in streams of random numbers, where they are a choice of
    another ensemble's; empty for their own places."""

    @property
    def streams(self) -> Sequence[int]:
        """The numbers that this rank's members draw random numbers by."""
        return self.names or range(self.members.start, self.members.stop)


def _split(comm: Comm, group: int, place: int) -> Comm:
    """The ranks of `comm` that name the same `group`, ordered by `place`. Collective."""
    return cast(Comm, comm.Split(group, place))


def choose_mesh(size: int, members: int, rows: int) -> tuple[int, int]:
    """The mesh with the least work on the busiest rank; of equals, the most split by members.

    Splitting by members costs no communication, so it is preferred.
    """
    fits = [
        (m, size // m)
        for m in range(1, size + 1)
        if size % m == 0 and m <= members and size // m <= rows
    ]
    if not fits:
        raise CaseError(
            f"{size} ranks do not fit {members} member(s) of {rows} rows: at most "
            f"{members} x {rows} ranks in a mesh members x pencils; use a rank count with a "
            f"divisor up to {members} whose quotient is up to {rows}, or more members"
        )
    return min(fits, key=lambda mesh: (-(-members // mesh[0]) * -(-rows // mesh[1]), -mesh[0]))


def check_mesh(shape: tuple[int, int], size: int, members: int, rows: int) -> None:
    """Raise CaseError unless a mesh of `shape` fits the ranks, members and rows."""
    p_m, p_y = shape
    if p_m * p_y != size:
        raise CaseError(
            f"transform.mesh = [{p_m}, {p_y}] needs {p_m * p_y} ranks, but {size} were started; "
            f'start {p_m * p_y}, or set transform.mesh = "auto"'
        )
    if p_m > members:
        raise CaseError(
            f"transform.mesh = [{p_m}, {p_y}] splits {members} member(s) over {p_m} ranks; "
            f"the first number may be at most {members}"
        )
    if p_y > rows:
        raise CaseError(
            f"transform.mesh = [{p_m}, {p_y}] has more y-pencils than the {rows} rows there are "
            f"to share; the second number may be at most {rows}"
        )
