"""Transforms on a device, by torch: on a GPU all members and layers of a rank in one batch, on a
CPU one field at a time, some columns and then some rows, which are in cache.

    coefficients (kx, ky)   of the n/2 columns of modes that are kept
      | c2c along y, padded
    columns (kx, y)
      | transposed, and c2r along x, padded
    points (y, x)
      | a pointwise function, and back the same way

A field lies whole on one device: ranks share out members, and each has a device of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from eddyscope.config.arrays import AnyArray, ComplexArray, FloatArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.parallel.world import Comm, Mesh
from eddyscope.spectral.distribution import Distribution, Share, edges
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.kernels.casts import array_of, tensor_of
from eddyscope.spectral.transform import At, ColumnFunction, PointFunction, TransformSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Torch", "batch_memory"]

CACHE = 2**20
"""Bytes that the columns or rows at work may take on a CPU."""

COMPILING = "compiling its loops takes most of a minute of a core in each process, before and amid \
the first steps"
"""As measured of 32 x 32 points on a CPU: 45 s."""

Fields = tuple[int | slice, int | slice]
"""Some members and layers, as an index."""


def leave(at: At, one: ComplexArray, other: ComplexArray) -> None:
    """Do nothing to the columns."""


class Torch(Distribution):
    """See `spectral.transform.Transform` and `FusedKernel`: it is both. Its arrays are tensors.

    Its bits depend on the device, and on a GPU also on how many members a rank has. On a CPU they
    are the same on any number of ranks.
    """

    class Settings(TransformSettings):
        """torch, on a GPU with all members of a rank in one batch, or a CPU; one rank a device."""

        kind: Literal["torch"] = "torch"
        device: Literal["auto", "cpu", "cuda"] = "auto"
        """What computes: "cuda" is a GPU, one a rank; "auto" takes one where torch finds any."""
        compile: Literal["auto"] | bool = "auto"
        """Whether torch.compile makes single loops of a step's; "auto" does so on a GPU with
        Triton, and not on a CPU, where that takes most of a minute of a core in each process."""

        def mesh_shape(self, ranks: int, members: int, columns: int) -> tuple[int, int]:
            """Members over ranks, and no y-pencils. CaseError where that does not fit."""
            shape = super().mesh_shape(ranks, members, columns) if self.shape else (ranks, 1)
            if shape[1] > 1 or ranks > members:
                raise CaseError(_no_pencils(shape, ranks, members))
            return shape

        def check(self) -> None:
            _device_of(self)

        @property
        def remark(self) -> str:
            if not self.uses_gpu():
                return COMPILING if self.compile is True else ""
            return "on GPUs another number of ranks, or another GPU, may give other last bits"

        def uses_gpu(self) -> bool:
            return _device_of(self).type == "cuda"

        def device_memory(self, grid: Grid, share: Share) -> int:
            return batch_memory(grid, share) if self.uses_gpu() else 0

        def in_batches(self) -> bool:
            return not _one_by_one(_device_of(self))

        def prepare(self, comm: Comm) -> None:
            from eddyscope.parallel.torch_group import settle_device

            settle_device(comm, wants_gpu=self.device != "cpu")

    on_host = False
    has_pencils = False

    def __init__(
        self,
        settings: Settings,
        grid: Grid,
        mesh: Mesh,
        layers: int = 1,
        wisdom: Path | None = None,
    ):
        """wisdom: not used. Not collective. CaseError where pencils, or a GPU that is not there,
        are asked for."""
        from eddyscope.spectral.kernels.tensors import TensorLoops

        if mesh.shape[1] > 1:
            raise CaseError(_no_pencils(mesh.shape, mesh.comm.size, mesh.ensemble))
        super().__init__(grid, mesh, layers, edges(grid.n // 2, 1), edges(grid.n_product, 1))
        self.device = _device_of(settings)
        one_by_one = _one_by_one(self.device)
        self.loops = TensorLoops(_compiles(settings, self.device), one_by_one)
        self.scale = 1.0 / grid.n_product**2
        width, height = grid.n // 2, grid.n_product
        if one_by_one:
            # Of one field, as much at a time as is in cache: its bits are then always the same.
            width = height = max(8, CACHE // (2 * grid.n_product * grid.complex.itemsize))
        else:
            self.together = [(slice(None), slice(None))]
            self.at_once = self.spectral_shape[0]
        self._columns = _parts(grid.n // 2, width)
        self._rows = _parts(grid.n_product, height)
        self._pair: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def memory(grid: Grid, share: Share) -> int:
        """Bytes that it takes of main memory on a CPU: two fields in columns, three more in modes
        while they are updated, and the columns and rows at work."""
        columns, modes = 2 * share.columns * grid.n_product, 3 * share.columns * grid.n
        return (columns + modes) * grid.complex.itemsize + 6 * CACHE

    @property
    def fused(self) -> Torch:
        return self

    def from_host(self, array: AnyArray) -> AnyArray:
        import torch

        return array_of(torch.from_numpy(np.array(array)).to(self.device))

    def to_host(self, array: AnyArray) -> AnyArray:
        host: AnyArray = tensor_of(array).detach().cpu().numpy()
        return host

    def zeros_spectral(self) -> ComplexArray:
        import torch

        kind = getattr(torch, self.grid.complex.name)
        return array_of(torch.zeros(self.spectral_shape, dtype=kind, device=self.device))

    def map_points(
        self, function: PointFunction, fill: ColumnFunction = leave, use: ColumnFunction = leave
    ) -> FloatArray:
        import torch

        kind, size = getattr(torch, self.grid.real.name), self.grid.n_product
        maxima = torch.zeros(self.spectral_shape[:2], dtype=kind, device=self.device)
        for at in self.together:
            columns = self._to_columns(at, fill)
            for rows in self._rows:
                modes = columns[..., rows].transpose(-1, -2)
                points = torch.fft.irfft(modes, n=size, norm="forward")
                function(array_of(points), array_of(maxima[at]))
                modes = torch.fft.rfft(points)[..., : self.grid.n // 2]
                columns[..., rows] = modes.transpose(-1, -2)
            self._from_columns(at, columns, use)
        return array_of(maxima)

    def _to_columns(self, at: Fields, fill: ColumnFunction) -> Tensor:
        """The pair of fields at some members and layers, as `fill` sets them, axes (pair, …, kx,
        y)."""
        import torch

        padded, columns = self._buffers()
        for part in self._columns:
            pair = padded[..., : part.stop - part.start, :]
            fill((*at, part), array_of(pair[0]), array_of(pair[1]))
            made: Tensor = torch.fft.ifft(pair, norm="forward")
            if len(self._columns) == 1:
                return made
            columns[..., part, :] = made
        return columns

    def _from_columns(self, at: Fields, columns: Tensor, use: ColumnFunction) -> None:
        import torch

        for part in self._columns:
            one, other = torch.fft.fft(columns[..., part, :])
            use((*at, part), array_of(one), array_of(other))

    def _buffers(self) -> tuple[Tensor, Tensor]:
        """A pair of fields padded along ky, some columns of them, and in all columns. What pads
        them is zero and stays so."""
        if self._pair is None:
            import torch

            together = () if self.together[0] == (0, 0) else self.spectral_shape[:2]
            kind, size = getattr(torch, self.grid.complex.name), self.grid.n_product
            widths = self._columns[0].stop, self.grid.n // 2 * (len(self._columns) > 1)
            padded, columns = (
                torch.zeros((2, *together, width, size), dtype=kind, device=self.device)
                for width in widths
            )
            self._pair = padded, columns
        return self._pair

    def to_points(self, field_hat: ComplexArray) -> RealArray:
        return self._points(field_hat, self.grid.n_product)

    def to_modes(self, field: RealArray) -> ComplexArray:
        return self._modes(field)

    def to_own_points(self, field_hat: ComplexArray) -> RealArray:
        return self._points(field_hat, self.grid.n)

    def from_own_points(self, field: RealArray) -> ComplexArray:
        field_hat = self._modes(field)
        field_hat[..., 0, 0] = 0
        return field_hat

    def _points(self, field_hat: ComplexArray, size: int) -> RealArray:
        """Fields on size × size points, (…, y, x)."""
        import torch

        padded = self._resized(tensor_of(field_hat), size)
        columns = torch.fft.ifft(padded, dim=-1, norm="forward")
        points = torch.fft.irfft(columns, n=size, dim=-2, norm="forward")
        return array_of(points.transpose(-1, -2))

    def _modes(self, field: RealArray) -> ComplexArray:
        """The modes kept of fields (…, y, x) on any number of points."""
        import torch

        columns = torch.fft.rfft(tensor_of(field).transpose(-1, -2), dim=-2, norm="forward")
        kept = columns[..., : self.grid.n // 2, :]
        return array_of(self._resized(torch.fft.fft(kept, dim=-1, norm="forward"), self.grid.n))

    def _resized(self, columns: Tensor, size: int) -> Tensor:
        """A copy with `size` modes along ky, of which those that are in both are not zero; without
        Nyquist modes."""
        half = min(columns.shape[-1], size) // 2
        copy = columns.new_zeros((*columns.shape[:-1], size))
        copy[..., :half] = columns[..., :half]
        copy[..., size - half + 1 :] = columns[..., columns.shape[-1] - half + 1 :]
        return copy

    def gather_columns(
        self, fields_hat: Sequence[ComplexArray], n: int, turn: int = 0
    ) -> dict[int, ComplexArray]:
        kept = [tensor_of(field)[..., : n // 2, :] for field in fields_hat]
        whole = [array_of(self._resized(field, n)) for field in kept]
        members = range(self.mesh.members.start, self.mesh.members.stop)
        return {m: self.loops.stack([field[i] for field in whole]) for i, m in enumerate(members)}


def _parts(total: int, width: int) -> list[slice]:
    """So many things, `width` at a time."""
    return [slice(at, min(at + width, total)) for at in range(0, total, width)]


def _no_pencils(shape: tuple[int, int], ranks: int, members: int) -> str:
    """Why a mesh is refused, and what to do."""
    way = 'set transform.mesh = "auto"' if ranks <= members else f"start at most {members} rank(s)"
    return (
        f'transform.kind = "torch" keeps a field whole on one device, so {ranks} ranks as a mesh '
        f"[{shape[0]}, {shape[1]}] do not suit {members} member(s): it has no y-pencils; {way}, "
        'or set transform.kind = "fftw"'
    )


def _device_of(settings: Torch.Settings) -> torch.device:
    """The device of this process. CaseError where a GPU is asked for that torch does not find."""
    import torch

    if settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "is built for CPUs alone" if torch.version.cuda is None else "finds no GPU here"
        raise CaseError(
            f'transform.device = "cuda", but torch {torch.__version__} {built}; set it to "auto" '
            'or "cpu", or install a torch with CUDA on a machine with a GPU'
        )
    return torch.device("cuda", torch.cuda.current_device())


def batch_memory(grid: Grid, share: Share) -> int:
    """Bytes that `map_points` takes with all members at once, at its peak: a pair of fields in
    columns, padded and transformed; the rows, on points, and their modes again; and as much for
    the FFT library to work in (counted, but for that last one, which is a guess)."""
    width, size = grid.n // 2, grid.n_product
    columns, rows = width * size, (size // 2 + 1) * size
    return 2 * share.members * share.layers * (2 * columns + 3 * rows) * grid.complex.itemsize


def _one_by_one(device: torch.device) -> bool:
    """Whether fields are taken one by one: a CPU has one in its cache, a GPU wants them all."""
    return device.type == "cpu"


def _compiles(settings: Torch.Settings, device: torch.device) -> bool:
    if settings.compile != "auto":
        return settings.compile
    from torch.utils._triton import has_triton

    return device.type == "cuda" and has_triton()
