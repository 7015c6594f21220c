"""FFTW's wisdom kept beside a run: what it measured once, it uses again, with the same bits.

With planner = "measure" FFTW picks the fastest of several algorithms by timing them, and
two calls may pick differently. Kept wisdom makes a restart pick what the run began with, on
the same number of ranks; on another number there are other plans, and other last bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import agree, all_true
from eddyscope.parallel.world import Mesh
from eddyscope.spectral.grid import Grid

__all__ = ["kept_wisdom"]


@contextmanager
def kept_wisdom(folder: Path | None, grid: Grid, mesh: Mesh) -> Iterator[None]:
    """Plans made in the `with` block follow the wisdom in `folder`, or leave theirs there.

    One file a rank. Collective over the mesh; raises CaseError if a file is damaged.
    """
    if folder is None:
        yield
        return
    from mpi4py_fft import fftw

    shape = f"{mesh.shape[0]}x{mesh.shape[1]}"
    name = f"{grid.precision}-n{grid.n}-{shape}-rank{mesh.comm.rank}.fftw"
    path = folder / name
    known = all_true(mesh.comm, path.exists())
    library = fftw.get_fftw_lib(grid.real)
    _make_any_plan(grid)  # FFTW refuses wisdom for planners it has not yet set up
    if known:
        agree(mesh.comm, lambda: _import(library, path))
    yield
    if not known:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(name + ".tmp")
        library.export_wisdom(bytearray(os.fsencode(temporary)))
        temporary.replace(path)


def _make_any_plan(grid: Grid) -> None:
    from mpi4py_fft import fftw

    field = fftw.aligned(4, dtype=grid.complex.char)
    fftw.fftn(field, flags=(fftw.FFTW_ESTIMATE,))


def _import(library: object, path: Path) -> None:
    if library.import_wisdom(bytearray(os.fsencode(path))) != 1:  # type: ignore[attr-defined]
        raise CaseError(f"{path}: not readable as FFTW wisdom; remove it to have it measured anew")
