"""What every score must do; new registry lines are picked up by themselves."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from eddyscope.advisor.ranking import rank_layers
from eddyscope.advisor.scores.base import Evidence
from eddyscope.advisor.scores.registry import SCORES
from eddyscope.advisor.settings import AdviseSettings
from eddyscope.advisor.start import start_of
from eddyscope.config.registry import Registry
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.parallel.world import World
from examples.base_to_target import BaseToTarget
from small_networks import ONE, small_network

WITH_EXAMPLE = Registry("score", {**SCORES.entries, "base_to_target": BaseToTarget})
"""What `SCORES` is once the line of one more score is added."""


def samples(seed: int) -> Samples:
    inputs = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Samples(inputs, inputs[:, :1] * inputs[:, 1:])


def model_of(kind: str) -> LayeredModel:
    model = build(small_network(kind), ONE, (1,), n=8)
    model.module.eval()
    return model


def test_registry_needs_no_torch():
    program = "import eddyscope.advisor.settings, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", [*NETWORKS])
@pytest.mark.parametrize("name", [*WITH_EXAMPLE])
def test_scores(name: str, kind: str):
    model = model_of(kind)
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    score = WITH_EXAMPLE.build(WITH_EXAMPLE.settings(name))
    evidence = Evidence(
        samples(3),
        samples(4) if score.reads_base else None,
        start=start_of(model, samples(3)) if score.scales_first else None,
    )
    found = [score.of_layer(model, evidence, layer) for layer in model.layers]
    again = [score.of_layer(model, evidence, layer) for layer in model.layers]
    values = [entry.value for entry in found]
    assert values == [entry.value for entry in again], "a score must not depend on chance"
    helpful = [value for value in values if value != 0.0]  # no gain is 0 in every layer
    assert len(set(helpful)) == len(helpful) > 1 and np.isfinite(values).all()
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())
    for entry in found:
        assert entry.curves.keys() == found[0].curves.keys()
        for name, curve in entry.curves.items():
            assert curve.values.shape == curve.positions.shape and curve.meaning, name
    assert score.measures and format(values[0], score.number_format)


def test_a_score_may_read_base_and_target():
    score = WITH_EXAMPLE.build(WITH_EXAMPLE.settings("base_to_target", power=2.0))
    model, evidence = model_of("cnn"), Evidence(samples(3), samples(4))
    ranking = rank_layers(model, evidence, {"example": score}, World.single())["example"]
    assert set(ranking.layers) == set(model.layers) and min(ranking.values.values()) > 0
    same = Evidence(samples(3), samples(3))
    equal = rank_layers(model, same, {"example": score}, World.single())["example"]
    assert len(equal.ties) == 1 and len(equal.ties[0]) == len(model.layers)


def test_case_files_offer_every_entry():
    assert set(AdviseSettings().score_names) <= set(SCORES)
    assert AdviseSettings().default_score in AdviseSettings().score_names
    for name in SCORES:
        plain = AdviseSettings.model_validate({"scores": [name], "default_score": name})
        table = AdviseSettings.model_validate({"scores": [{"kind": name}], "default_score": name})
        assert plain == table


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"scores": []}, "at least 1"),
        ({"scores": ["relative_gradient"]}, "not among advise.scores"),
        ({"scores": ["linearised_gain", {"kind": "linearised_gain"}]}, "more than once"),
        ({"default_score": "prob"}, "did you mean probe"),
        ({"scores": [{"kind": "linearised_gain", "iterations": 0}]}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused(section: dict, words: str):
    with pytest.raises(ValidationError, match=words):
        AdviseSettings.model_validate(section)
