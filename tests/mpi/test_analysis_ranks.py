"""The analysis on ranks: the same numbers, bit for bit, on any number of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import synthetic
import synthetic_models
from eddyscope.analysis import activation_spectra as acts
from eddyscope.analysis.kernel_survey import survey
from eddyscope.artefacts.analysis import read_analysis
from eddyscope.artefacts.key import BASE
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World
from eddyscope.stages.analyze import STAGE as analyze
from eddyscope.stages.job import Job

pytestmark = pytest.mark.mpi


def prepare(out: Path, world: World) -> Any:
    """A case with datasets, models and an evaluation under `out`. Collective."""
    case = world.on_root(lambda: synthetic.make_case(out))
    synthetic.write_datasets(case, out, world)
    world.on_root(lambda: synthetic_models.write_models(case, out))
    return case


@pytest.fixture(scope="module")
def analysed(tmp_path_factory) -> tuple[Any, Path]:
    """A case and its output folder, analysed by all ranks; tests must leave it so."""
    world = World.launched()
    out: Path = world.on_root(lambda: tmp_path_factory.mktemp("analysed"))
    case = prepare(out, world)
    analyze.run(Job(case, world, out))
    return case, out


def everything(path: Path) -> dict[str, Any]:
    """All variables of the analysis, by group and name."""
    groups = read_analysis(path).subtree
    return {f"{g.path}/{name}": v.values for g in groups for name, v in g.variables.items()}


def test_the_stage_writes_the_same_file_on_any_ranks(analysed, world, shared_tmp_path, everywhere):
    case, out = analysed
    together = everything(out / "analysis.h5")
    problem = ""
    if world.is_root:
        shutil.copytree(out, shared_tmp_path, dirs_exist_ok=True)
        alone = Job(case, World.single(), shared_tmp_path, fresh=True)
        analyze.run(alone)
        expected = everything(shared_tmp_path / "analysis.h5")
        problem = "" if len(expected) > 100 else f"only {len(expected)} variables"
        problem = problem if expected.keys() == together.keys() else "other variables"
        for name, values in expected.items():
            same = np.array_equal(values, together[name], equal_nan=values.dtype.kind == "f")
            problem = problem or ("" if same else name)
    everywhere(not problem, problem)


def test_what_the_file_says(analysed, everywhere):
    path = analysed[1] / "analysis.h5"
    with xr.open_dataset(path, group="changes", engine="h5netcdf") as changes:
        for model in changes.model.values:
            touched = changes.layer.values[changes.relative.sel(model=model).values > 0]
            others = [] if "scale" in model else list(changes.layer.values)  # these scale fields
            expected = [model] if model[0] == "l" else others
            everywhere(list(touched) == expected, f"{model} changed {touched}")
    with xr.open_dataset(path, group="activations/best_on_target", engine="h5netcdf") as run:
        everywhere(run.h.dims == ("layer", "wavenumber"), str(run.h.dims))
        everywhere(run.h.attrs["units"] != "", "no units")
        last = run.isel(layer=-1)
        everywhere(bool((last.h == last.g).all()), "the last layer has no ReLU")
        everywhere(bool((run.g.sum("wavenumber") <= run.h.sum("wavenumber")).all()), "g > h")
    with xr.open_dataset(path, engine="h5netcdf") as root:
        everywhere(root.attrs["best"] == synthetic_models.BEST, root.attrs["best"])
        everywhere({"case", "case_hash", "code_version"} <= root.attrs.keys(), "provenance")


class Twisted(nn.Module):
    """Multiplies a field with its neighbour."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(x, 1, dims=-1) * x


def subject_of(layer: nn.Module, count: int) -> acts.Subject:
    module = nn.Sequential(layer, nn.ReLU())
    model = LayeredModel(module, {"l01": layer}, NETWORKS.settings("cnn"), Channels.of_flow())
    x = torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(count))
    return acts.Subject(model, x)


def test_more_ranks_than_pieces_of_work(world, everywhere):
    subject = {"only": subject_of(nn.Identity(), 1)}
    together = acts.measure(world, subject)["only"]
    alone = acts.measure(World.single(), subject)["only"]
    everywhere(np.array_equal(together.g, alone.g), "activations differ")
    weights = np.random.default_rng(5).standard_normal((2, 2, 3, 3))
    found = survey(world, {BASE: {"l01": weights}}, {"l01": 8}, seed=1)
    lone = survey(World.single(), {BASE: {"l01": weights}}, {"l01": 8}, seed=1)
    everywhere(list(found) == [(BASE, "l01")], str(list(found)))
    everywhere(
        np.array_equal(found[BASE, "l01"].radial, lone[BASE, "l01"].radial), "kernels differ"
    )


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_samples_are_summed_in_their_order(world, everywhere, count):
    subject = {"a": subject_of(Twisted(), count)}
    together = acts.measure(world, subject)["a"]
    alone = acts.measure(World.single(), subject)["a"]
    for name in ("h", "g", "positive", "inputs"):
        same = np.array_equal(getattr(together, name), getattr(alone, name))
        everywhere(same, f"{name} differs with {count} samples")
