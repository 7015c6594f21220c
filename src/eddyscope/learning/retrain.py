"""Making one model from the base model and a few target samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.key import LAYERS, ModelKey
from eddyscope.artefacts.model import Chosen, ModelGrid, ModelRecord, Resolved, read_model
from eddyscope.artefacts.normalisation import Normalisation, Way, statistics_of
from eddyscope.artefacts.role import Adapted
from eddyscope.config import provenance
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Adaptation
from eddyscope.learning.adapting import Adapting, Report
from eddyscope.learning.batches import Samples, load_fields
from eddyscope.learning.choice import Choosing, judged, others, went_astray
from eddyscope.learning.history import History
from eddyscope.learning.models import Model, changed_layers, save_model
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.search import Search, Yardstick
from eddyscope.learning.trainer import Requests, Saved, mean_loss
from eddyscope.networks.settings import Channels
from eddyscope.networks.shift import SHIFTED, shift_error
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.stop import GroupRequests, StopRequests
from eddyscope.parallel.work import deal
from eddyscope.parallel.world import World

__all__ = ["Retraining", "Target", "metrics_of", "samples_of_base"]

TRIALS = ".choice.json"
"""Ending of what is kept of the trainings that choose a model's rate and steps."""

ASTRAY = 1.5
"""Error of a training on its own samples, over that of its trials on samples held out, above which
it went astray, and the next best rate is taken."""


@dataclass(frozen=True)
class Target:
    """The target's samples as re-training sees them, the same on every rank."""

    samples: Samples
    origin: tuple[tuple[int, int], ...]
    """(member, sample) of each in the dataset."""
    validation: Samples | None
    normalisation: Normalisation
    digest: str
    """Of the dataset."""
    grid: ModelGrid
    periodic: bool
    """Whether its fields are, in both directions."""

    @classmethod
    def under(
        cls,
        ways: Mapping[Way, Normalisation],
        dataset: Dataset,
        n: int,
        count: int,
        channels: Channels,
    ) -> dict[Way, Target]:
        """`count` training samples, and as many for validation if there are that many, normalised
        in each of these ways.

        Not collective. Raises CaseError.
        """
        dataset.require(n, "train")
        names = channels.fields(dataset.layers)
        fields = load_fields(dataset, n, "train", count, names)
        available = dataset.count("validation")
        held_out = load_fields(dataset, n, "validation", min(available, count), names)

        def by(normalisation: Normalisation) -> Target:
            given = normalisation, channels
            return cls(
                samples=Samples.of(fields, *given),
                origin=fields.origin,
                validation=Samples.of(held_out, *given) if held_out.origin else None,
                normalisation=normalisation,
                digest=dataset.digest,
                grid=ModelGrid(n=n, filter_width=dataset.filter_width[n]),
                periodic=all(dataset.box.periodic),
            )

        return {way: by(normalisation) for way, normalisation in ways.items()}


@dataclass(frozen=True)
class Retraining:
    """How every model is made from one base model, and saved."""

    base: Model
    targets: Mapping[Way, Target]
    """The same samples, normalised in each way that is needed."""
    way: Way
    """Of models whose adaptation has none of its own, see `Adaptation.way`."""
    models: Mapping[ModelKey, Adaptation]
    recipe: Recipe
    """Of matched models; others choose their rate and steps. Its key is the seed of transfer alone;
    each model's repeat is added to it."""
    choosing: Choosing
    folder: Path
    """Of all models."""
    identity: str
    """Of all that decides the models together; a checkpoint of another identity is not used."""
    base_samples: Callable[[int], Samples]
    """Loads so many training samples of the base. Not collective; raises CaseError."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 60.0
    """Least wall time between checkpoints of a model."""
    logs: Sequence[Section] = ()
    """Settings of what is written beside each model, see `learning/logs.py`."""

    def make_all(self, world: World, requests: StopRequests) -> None:
        """Make every model that is not there yet, dealt to groups of ranks. Collective.

        Raises BlewUp, once all sound models are made, for those that are no longer finite,
        StoppedEarly where `requests` asked for it in the middle of one, and CannotWrite or
        CaseError of any group on all ranks.
        """
        everything = list(self.models)
        missing = world.on_root(lambda: [key for key in everything if not self.is_made(key)])
        # Who makes what does not depend on what is missing: the ranks a model is trained on
        # decide its last bits, and a run that goes on must end like an unbroken one.
        group, index = world.split(len(everything))
        dealt = deal(everything, min(world.size, len(everything)), index)
        todo = [key for key in dealt if key in missing]
        with GroupRequests(requests, group) as heard:
            failed = self._make_each(todo, group, index == 0, heard)
        # A group must not end the job while another is still at work on sound models.
        everyone = [error for errors in world.comm.allgather(failed) for error in errors]
        group.comm.Free()
        raise_together(everyone)

    def _make_each(
        self, keys: Sequence[ModelKey], group: World, speaks: bool, requests: Requests
    ) -> list[Exception]:
        """Make models on a group of ranks; gives the errors of those that failed. Collective
        over the group, of which one speaks for all: their shares are alike."""
        steps = {
            key: self.recipe.steps * (self.trials(key) + self.models[key].is_trained)
            for key in keys
        }
        progress = Progress(group, "transfer: step", max(1, sum(steps.values())))
        failed: list[Exception] = []
        before = 0
        for key in keys:

            def report(step: int, note: str, before: int = before, key: ModelKey = key) -> None:
                if speaks:
                    progress.update(before + step, f"{self._called(key)}, {note}")

            try:
                self.make(key, group, report, requests)
            except BlewUp as error:
                failed.append(BlewUp(f"{self._called(key)}: {error}"))
            except StoppedEarly as error:
                return [*failed, StoppedEarly(f"{self._called(key)}: {error}")]
            except (CannotWrite, CaseError) as error:
                return [*failed, error]  # the next model would meet it too
            before += steps[key]
        return failed

    def target(self, key: ModelKey) -> Target:
        """The samples that a model is made from, normalised as it needs them."""
        return self.targets[self.models[key].way or self.way]

    def is_made(self, key: ModelKey) -> bool:
        """Whether a sound artefact of this name, made from this base model, is on the disk."""
        try:
            return read_model(key.path(self.folder)).record.resolved == self._resolved(key)
        except CaseError:
            return False  # missing, or cut short by a kill: it is made again

    def make(
        self, key: ModelKey, world: World, report: Report, requests: Requests | None = None
    ) -> None:
        """Adapt the base model as `key` says, and save it. Collective. Raises BlewUp, and
        StoppedEarly if `requests` asked for it."""
        path, target, base = key.path(self.folder), self.target(key), self.base.network
        identity, kept = provenance.digest([self.identity, str(key)]), path.with_suffix(TRIALS)
        recipe = replace(self.recipe, key=(*self.recipe.key, 1 + (key.seed or 0)))
        adapting = Adapting(base, self.models[key], self.base_samples, world, requests)
        search = Search(target.samples, self.choosing, self._yardstick(target), kept, identity)
        before, choice, error = self.trials(key) * recipe.steps, None, None
        if before:
            choice = search.choose(adapting, recipe, report)
            recipe, error = replace(recipe, rate=choice.rate, stop=choice.steps), choice.error
        elif self.choosing.folds and not adapting.adaptation.is_trained:
            error = search.held_out(adapting, recipe)

        def told(step: int, note: str) -> None:
            report(before + step, note)

        astray: dict[float, float] = {}
        while True:
            of_rate = provenance.digest([identity, recipe.rate])
            saved = Saved(path.with_suffix(".ckpt"), of_rate, self.seconds, self.logs)
            module, history = adapting.to(target.samples, recipe, told, target.validation, saved)
            lost = self._astray(choice, module, target, world)
            if choice is None or lost is None:
                break
            choice = went_astray(choice, lost)
            if not others(choice):
                break
            astray[choice.rate] = lost
            world.on_root(partial(saved.path.unlink, missing_ok=True))
            choice = search.choose(adapting, recipe, report, astray)
            recipe, error = replace(recipe, rate=choice.rate, stop=choice.steps), choice.error
        network = adapting.adaptation.folded(module, base)
        if not history.train:
            self._measure(module, target, history, world)
        count = adapting.adaptation.count(adapting.untouched(recipe))
        metrics = metrics_of(history, len(target.samples), count, world)
        if target.periodic:
            metrics["shift_error"] = shift_error(network, target.samples.inputs[:SHIFTED])
        metrics["validation_error"] = error
        record = self._record(key, changed_layers(base, network), history, metrics)
        if adapting.adaptation.is_trained:
            record = judged(record, choice, recipe, self._why_no_choice(key))
        scales = dict(adapting.adaptation.scales(module))
        model = Model(network, record.model_copy(update={"scales": scales}))
        world.on_root(lambda: save_model(path, model))
        for left in (saved.path, kept):
            world.on_root(partial(left.unlink, missing_ok=True))

    def _astray(
        self, choice: Chosen | None, module: nn.Module, target: Target, world: World
    ) -> float | None:
        """The error of a model on its own samples where that is far above what its trials left on
        samples held out: near the largest stable rate one training may end well and another not.
        None otherwise. Collective."""
        if choice is None or not choice.steps:
            return None
        yardstick = self._yardstick(target)
        error = yardstick.error(module, target.samples, world)
        return error if error > ASTRAY * choice.error else None

    def trials(self, key: ModelKey) -> int:
        """Trainings ahead of a model's own, which choose its rate and steps."""
        return self.choosing.trials * (self._recipe_of(key) == "chosen")

    def _recipe_of(self, key: ModelKey) -> str:
        """How a model is trained; empty for what takes no steps."""
        return (key.recipe or self.choosing.recipes[0]) if self.models[key].is_trained else ""

    def _why_no_choice(self, key: ModelKey) -> str:
        if self._recipe_of(key) == "matched":
            return "rate and steps are the same for all, not chosen"
        return "nothing can be held out of one sample: the middle rate and all steps"

    def _yardstick(self, target: Target) -> Yardstick:
        outputs, normalisation = self.base.network.channels.outputs, target.normalisation
        return Yardstick(normalisation, outputs, self.recipe.batch_size)

    def _measure(self, module: nn.Module, target: Target, history: History, world: World) -> None:
        """The losses of what took no steps. Collective."""
        for part, losses in (
            (target.samples, history.train),
            (target.validation, history.validation),
        ):
            if part is not None:
                losses.append(
                    mean_loss(module, part, self.recipe.batch_size, world, self.recipe.loss)
                )

    def _record(
        self,
        key: ModelKey,
        retrained: list[str],
        history: History,
        metrics: dict[str, float | None],
    ) -> ModelRecord:
        base, target, adaptation = self.base.record, self.target(key), self.models[key]
        return ModelRecord(
            key=str(key),
            resolved=self._resolved(key),
            adapted=Adapted(role=adaptation.role, words=self._own_words(key) or adaptation.words),
            network=base.network,
            channels=base.channels,
            normalisation=target.normalisation,
            grid=target.grid,
            retrained=retrained,
            history=history.curves,
            metrics=metrics,
            provenance={
                **self.provenance,
                "dataset": target.digest,
                "trained_on": [asdict(stretch) for stretch in history.stretches],
            },
        )

    def _own_words(self, key: ModelKey) -> str:
        """What a user calls the layers that a model names; empty where there are no such names."""
        paths = self.base.network.own_paths
        named = key.kind == LAYERS and paths
        return "+".join(paths[layer] for layer in key.layers) if named else ""

    def _called(self, key: ModelKey) -> str:
        """A model's name in messages, as in "l02 (dec.1)"."""
        own = self._own_words(key)
        return f"{key} ({own})" if own else str(key)

    def _resolved(self, key: ModelKey) -> Resolved:
        return Resolved.of(
            key,
            samples=len(self.target(key).samples),
            normalisation=self.target(key).normalisation.name,
            training_seed=self.base.record.resolved.training_seed,
            transfer_seed=self.recipe.key[0],
            recipe=self._recipe_of(key),
            base=self.base.digest,
        )


def samples_of_base(opened: Callable[[], Dataset], model: Model, way: Way, count: int) -> Samples:
    """So many training samples of the base system, normalised in the target's way, as an evaluation
    normalises the base's fields for a model so re-trained. Not collective.

    Raises CaseError.
    """
    dataset, channels, n = opened(), model.network.channels, model.record.grid.n
    fields = load_fields(dataset, n, "train", count, channels.fields(dataset.layers))
    own = model.record.normalisation
    by = statistics_of(way, own, own)
    return Samples.of(fields, by, channels)


def raise_together(errors: Sequence[Exception]) -> None:
    """Raise what all ranks know of: the first that ends everything, a request to stop, else all
    that blew up, a line each."""
    for kind in (CaseError, CannotWrite, StoppedEarly):
        for error in errors:
            if isinstance(error, kind):
                raise error
    if errors:
        first, *others = dict.fromkeys(str(error) for error in errors)
        also = f" ({len(others)} more did likewise)" if others else ""
        raise BlewUp(f"{first}{also}", others)


def metrics_of(
    history: History, samples: int, parameters: int, world: World
) -> dict[str, float | None]:
    """Numbers known when a model is saved; `parameters` are those that were adapted. No times:
    equal trainings give equal files."""
    last = history.stretches[-1] if history.stretches else None
    kept = -1 if history.best is None else history.best
    return {
        "samples": samples,
        "parameters": parameters,
        "train_loss": history.train[kept] if history.train else None,
        "validation_loss": history.validation[kept] if history.validation else None,
        "ranks": world.size,
        "threads": last.threads if last else None,
        "steps": history.steps[-1] if history.steps else None,
        "travel": history.travel,
    }
