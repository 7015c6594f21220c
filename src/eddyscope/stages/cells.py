"""From the cases of a study to its plan: what each cell needs, and what decides that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eddyscope.config.errors import CaseError
from eddyscope.config.identity import deciding
from eddyscope.learning.selection import trainings_of
from eddyscope.networks.costs import CORE_RATE, total_parameters, training_flops
from eddyscope.parallel.world import World
from eddyscope.stages.case import SAMPLES_OF, SYSTEMS, Case, load_case
from eddyscope.stages.job import Job
from eddyscope.stages.stage import load_stages
from eddyscope.stages.step import deciding_sections
from eddyscope.stages.study_job import system_of
from eddyscope.study.axes import Point, Study, check_blocks, points_of
from eddyscope.study.plan import Cell, Plan, System, Training, identity

__all__ = ["plan_of"]

OF_CELL = ("transfer.", "advise.", "les.", "analysis.")
"""Settings that a base model does not depend on."""


def plan_of(study: Study, source: Path, world: World) -> Plan:
    """The plan of a study, read from `source`. Writes nothing. Collective. CaseError, also for
    everything that a cell's case alone makes impossible."""
    found = world.on_root(lambda: _read(study, source))
    varied = [name for *_, point in found for name, _ in point.values]
    axes = list(dict.fromkeys([*varied, SAMPLES_OF["target"]]))
    cells = [_cell(path, case, point, axes, world, study.advise) for path, case, point in found]
    return Plan(study.name, cells, axes)


def _read(study: Study, source: Path) -> list[tuple[str, Case, Point]]:
    """The case of each cell. Not collective."""
    named: dict[str, str] = {}
    found: list[tuple[str, Case, Point]] = []
    for path in study.cases:
        case = load_case(path)
        if case.name in named:
            raise CaseError(
                f"{source}: {named[case.name]} and {path} are both called {case.name!r}; give each "
                "case its own name"
            )
        named[case.name] = path
        blocks = check_blocks(case.study if case.study is not None else {"axes": study.axes})
        found += [
            (path, load_case(path, point.overrides, f"{source}: axes"), point)
            for point in points_of(blocks)
        ]
    return found


def _cell(
    path: str, case: Case, point: Point, axes: Sequence[str], world: World, advise: bool
) -> Cell:
    """One point of a case. Collective."""
    job = Job(case, world, Path("cell"))
    for stage in load_stages(["advise", "transfer", "evaluate"] if advise else ["transfer"]):
        stage.plan(job)
    for name in SYSTEMS:
        case.test_members(name)
    resolved = case.resolved()
    systems = {name: system_of(case, name, resolved) for name in SYSTEMS}
    training = _training(path, case, point, job, systems["base"])
    decides: dict[str, object] = {
        "systems": {name: (system.id, deciding(case.system(name).ensemble.split))
                    for name, system in systems.items()},
        "training": training.id,
        "seed": case.seeds.transfer,
        "transfer": resolved["transfer"],
        "advise": resolved["advise"] if advise else None,
    }  # fmt: skip
    models, transfer = case.transfer_models, case.transfer
    batch = transfer.batch_size or case.training.batch_size
    trained = trainings_of(transfer, models).count
    return Cell(
        id=identity(decides),
        name=case.name,
        point=point,
        values={axis: point.value_of(axis, resolved) for axis in axes},
        case=path,
        overrides=tuple(point.overrides),
        systems=systems,
        training=training,
        models=len(models),
        trainings=trained,
        bytes=4 * len(models) * total_parameters(case.network, case.channels, case.network_grid),
        cost=_seconds(case, transfer.steps_of(batch) * min(batch, transfer.samples) * trained),
    )


def _training(path: str, case: Case, point: Point, job: Job, base: System) -> Training:
    """The base model of a cell. Collective."""
    words = f"{case.name}, seed {case.seeds.training}"
    if case.training.model:
        named = Path(case.training.model)
        return Training(identity({"named": str(named)}), words, path, (), base, named=named)
    (stage,) = load_stages(["train"])
    stage.plan(job)
    steps = [step for work in stage.works(job) for step in work.steps]
    decides = {step.name: deciding_sections(step, case) for step in steps}
    return Training(
        id=identity({"base": base.id, "steps": decides}),
        words=words,
        case=path,
        overrides=tuple(word for word in point.overrides if not word.startswith(OF_CELL)),
        base=base,
        cost=_seconds(case, case.training.epochs * case.training_samples("base")),
    )


def _seconds(case: Case, passes: int) -> float:
    return passes * training_flops(case.network, case.channels, case.network_grid) / CORE_RATE
