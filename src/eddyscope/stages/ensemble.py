"""The ensemble of a case's system, as `dns` simulates it: its files, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eddyscope.artefacts.dataset.schema import VISCOSITY
from eddyscope.artefacts.dataset.writer import Layout, capacity, size
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.memory import require_device_memory
from eddyscope.parallel.world import World
from eddyscope.solver.assemble import Setup, make_schedule
from eddyscope.solver.sizes import Sizes, sizes_of
from eddyscope.spectral.grid import Grid
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step
from eddyscope.storage.disk import free_space
from eddyscope.storage.drivers.registry import STORAGE_DRIVERS

__all__ = ["Ensemble"]


@dataclass(frozen=True)
class Ensemble:
    """That of one system of a case, on some ranks and in an output folder."""

    case: Case
    system: str
    world: World
    out: Path
    dataset: Path
    provenance: Mapping[str, object]

    @classmethod
    def of(cls, job: Job, system: str) -> Ensemble:
        """That of a job."""
        return cls(job.case, system, job.world, job.out, job.dataset(system), job.provenance())

    @cached_property
    def setup(self) -> Setup:
        """CaseError where the case has no such system, or its times do not fit its steps."""
        case, settings = self.case, self.case.system(self.system)
        ensemble, (grid, time) = settings.ensemble, case.solver
        return Setup(
            flow=settings.flow,
            grid=Grid.of(grid),
            time=time,
            transform=case.transform,
            members=ensemble.members,
            schedule=make_schedule(f"{self.system}.ensemble", ensemble, time.dt),
            seed=case.flow_seed(self.system),
        )

    @cached_property
    def layout(self) -> Layout:
        """The sizes and coordinates of the dataset."""
        filtering, schedule = self.case.filter_of(self.system), self.setup.schedule
        return Layout(
            members=self.setup.members,
            sample_times=schedule.sample_times,
            record_times=schedule.times,
            n_shells=self.setup.grid.n_shells,
            grids={n: filtering.delta(n) for n in filtering.n},
            dtype=filtering.precision,
            full=self.setup.grid.n if filtering.full_fields else None,
            layers=FLOWS[self.setup.flow.kind].layers,
        )

    @cached_property
    def sizes(self) -> Sizes:
        settings = self.case.filter_of(self.system)
        return sizes_of(self.setup, self.world.size, settings.n, settings.full_fields)

    @cached_property
    def step(self) -> Step:
        """Collective."""
        dataset, folder, facts = self.dataset, self.dataset.parent, self.attributes
        pairing = ("paired",) if self.system == "target" else ()  # base draws its own either way
        kept = self.case.checkpoint.keep + 1  # a new one is complete before the oldest goes
        return Step(
            name=f"dns.{self.system}",
            sections=("seed", *pairing, "grid", "time", "filter", "transform", self.system),
            inputs=self.setup.flow.initial.reads,
            outputs=(dataset,),
            scratch=(folder / "checkpoints", folder / "wisdom"),
            status=folder / "status.json",
            sizes={
                dataset: self.world.on_root(lambda: size(self.layout, facts)),
                folder / "checkpoints": self.sizes.checkpoint * kept,
            },
        )

    @cached_property
    def attributes(self) -> dict[str, object]:
        """Of the dataset's file."""
        viscosity = FLOWS[self.setup.flow.kind].traits(self.setup.flow).viscosity
        facts = {} if viscosity is None else {VISCOSITY: viscosity}
        return {**self.provenance, "system": self.system, **facts}

    def check(self) -> None:
        """Raise CaseError for all that a run would refuse. Collective."""
        for check in (STORAGE_DRIVERS[self.case.storage.driver.kind].require, self.setup.check):
            self.world.on_root(check)
        require_device_memory(self.world.comm, f"dns.{self.system}", self.sizes.device)

    @property
    def fields(self) -> float:
        """Bytes of a rank for fields at the peak."""
        sizes, layout = self.sizes, self.layout
        waiting = capacity(layout, sizes.owned) * sizes.owned * layout.member_bytes()
        return sizes.solver + sizes.coarse + sizes.work + waiting

    def description(self, program: float) -> list[str]:
        """What would be done, a line each; program: bytes of a rank without fields. Collective."""
        sizes, fields = self.sizes, self.fields
        dataset, checkpoints = self.step.sizes.values()
        free = self.world.on_root(lambda: free_space(self.out))
        return [
            *self.setup.description(self.system, self.world.size),
            f"  memory: {(program + fields) / 2**20:.0f} MiB a rank at the peak, "
            f"{fields / 2**20:.0f} MiB of it for fields{sizes.of_gpu}",
            f"  {self.layout.in_words(dataset)}",
            f"  checkpoints: up to {checkpoints // sizes.checkpoint} of {sizes.checkpoint} bytes "
            f"({checkpoints / 2**20:.1f} MiB)",
            f"  disk: {(dataset + checkpoints) / 2**20:.1f} MiB, of {free / 2**20:.1f} MiB that "
            f"are free for {self.out}",
        ]
