"""The ways to normalise, and factors of channels beside them: what they do to known fields."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from eddyscope.artefacts.normalisation import WAYS, Normalisation, Way, lacking, statistics_of
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Adaptation, Task
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import Fields, Samples
from eddyscope.learning.prediction import predict
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
FLOW = Channels.of_flow()
SIZES = {"psi": 0.1, "omega": 20.0, "pi": 7.0}
RATIO = 3.0
"""Of the target's vorticity to the base's."""


def fields_of(rng: np.random.Generator, samples: int = 4) -> dict[str, np.ndarray]:
    """Fields of the base, each (sample, layer, y, x), of zero mean."""
    found = {name: size * rng.standard_normal((samples, 1, 8, 8)) for name, size in SIZES.items()}
    return {name: field - field.mean((2, 3), keepdims=True) for name, field in found.items()}


def own(system: str, values: dict[str, np.ndarray]) -> Normalisation:
    return Normalisation.own(system, list(values), lambda: [values])


def faster(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same fields where time runs faster by RATIO."""
    return {name: field * RATIO ** (2 if name == "pi" else 1) for name, field in values.items()}


def inputs(normalisation: Normalisation, values: dict[str, np.ndarray]) -> torch.Tensor:
    fields = Fields(values, tuple((0, s) for s in range(4)))
    samples = Samples.of(fields, normalisation, FLOW)
    return torch.cat([samples.inputs, samples.targets], dim=1)


def test_on_the_base_system_three_ways_are_one(rng):
    base = own("base", fields_of(rng))
    for way in ("dimensional", "base", "target"):
        assert statistics_of(way, base, base) == base.model_copy(update={"name": way})


def test_a_flow_in_another_unit_of_time_is_the_same_flow_to_dimensional_statistics(rng):
    """With `base` it is not; `target` needs Π for the same."""
    values = fields_of(rng)
    base, target = own("base", values), own("target", faster(values))
    assert tuple(WAYS) == get_args(Way)
    there = {way: inputs(statistics_of(way, base, target), faster(values)) for way in WAYS}
    home = inputs(base, values)
    torch.testing.assert_close(there["dimensional"], home)
    torch.testing.assert_close(there["target"], home)
    torch.testing.assert_close(there["base"], home * torch.tensor([3.0, 3.0, 9.0])[:, None, None])
    found = statistics_of("dimensional", base, target)
    assert (found.name, found.system, found.omega_rms) == ("dimensional", "base", target.omega_rms)


def test_dimensional_keeps_the_ratio_of_psi_to_omega_and_target_does_not(rng):
    values = fields_of(rng)
    other = {**values, "psi": 5.0 * values["psi"]}  # of another length
    base, target = own("base", values), own("target", other)

    def ratio(way: Way) -> float:
        found = inputs(statistics_of(way, base, target), other)
        return float(found[:, 0].norm() / found[:, 1].norm())

    assert ratio("dimensional") == pytest.approx(5.0, rel=1e-5)
    assert ratio("target") == pytest.approx(1.0, rel=1e-5)


def test_snapshots_by_their_own_size_and_outputs_by_the_systems(rng):
    values = fields_of(rng)
    base, target = own("base", values), own("target", faster(values))
    sized = {name: field * np.array([1.0, 2.0, 3.0, 4.0])[:, None, None, None]
             for name, field in values.items()}  # fmt: skip
    found = inputs(statistics_of("snapshot", base, target), sized)
    rms = found[:, :2].square().mean((2, 3)).sqrt()
    torch.testing.assert_close(rms, torch.ones_like(rms))
    np.testing.assert_allclose(found[:, 2] * target.std["pi"], sized["pi"][:, 0], rtol=1e-5)


def test_means_change_with_the_unit_of_time_too(rng):
    values = {**fields_of(rng), "strain": 4.0 + rng.standard_normal((4, 1, 8, 8))}
    base, target = own("base", values), own("target", faster(values))
    found = statistics_of("dimensional", base, target)
    assert found.mean["strain"] == pytest.approx(RATIO * base.mean["strain"])
    assert found.std["strain"] == pytest.approx(target.std["strain"])


def test_layers_have_the_dimensions_of_their_field():
    std = {"psi_1": 1.0, "pi_2": 2.0}
    base = Normalisation(
        name="base", system="base", samples=1, mean=dict.fromkeys(std, 0.0), std=std, omega_rms=1.0
    )
    target = base.model_copy(update={"name": "target", "system": "target", "omega_rms": 3.0})
    assert statistics_of("dimensional", base, target).std == {"psi_1": 3.0, "pi_2": 18.0}


def test_a_way_that_cannot_be_had_is_one_line(rng):
    values = fields_of(rng)
    heat = own("base", {**values, "heat_2": values["psi"]})
    with pytest.raises(CaseError, match='dimension of heat_2 is not known; set it to "base" or'):
        statistics_of("dimensional", heat, heat)
    still = own("target", values).model_copy(update={"omega_rms": None})
    with pytest.raises(CaseError, match="the vorticity of the target is not known; set it to"):
        statistics_of("dimensional", own("base", values), still)
    assert "vorticity of the base is 0" in lacking("dimensional", ["psi"], {"base": 0.0})
    assert statistics_of("target", heat, still).std == still.std


# --- Scales ------------------------------------------------------------------------------------


def base_model(outputs: tuple[str, ...] = ("pi",)) -> LayeredModel:
    """With biases, else f(2 x) = 2 f(x), and factors of inputs and outputs are not told apart."""
    settings = SETTINGS.model_copy(update={"outputs": outputs})
    base = build(settings, Channels.of_fields(("psi", "omega"), outputs), (1,))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in base.layers.values():
            layer.bias += torch.randn(layer.bias.shape, generator=generator)  # type: ignore[operator]
    return base


def samples_of(base: LayeredModel, g: tuple[float, float], a: float) -> Samples:
    """Samples of a target that is the base between factors: a f(g x)."""
    x = torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return Samples(x, a * base(x * torch.tensor(g)[:, None, None]))


def fitted(kind: str, base: LayeredModel, samples: Samples) -> tuple[dict[str, float], float]:
    """The scales, and the relative error that they leave."""
    adaptation: Adaptation = ADAPTATIONS.build(ADAPTATIONS.settings(kind))
    module = adaptation.module(base, (0,))
    adaptation.fit(module, Task(samples, 4, lambda _: pytest.fail("it takes no epochs")))
    with torch.no_grad():
        wrong = (module(samples.inputs) - samples.targets).square().sum()
        assert torch.equal(adaptation.folded(module, base)(samples.inputs), base(samples.inputs))
    return dict(adaptation.scales(module)), float(wrong / samples.targets.square().sum())


@pytest.mark.parametrize("kind", ["scale", "three_scales"])
def test_a_target_that_differs_by_one_factor_of_pi_is_repaired(kind):
    base = base_model()
    scales, error = fitted(kind, base, samples_of(base, (1.0, 1.0), -2.5))
    assert scales["pi"] == pytest.approx(-2.5, rel=1e-6)
    assert error < 1e-12


def test_a_target_whose_fields_are_each_rescaled_is_repaired_by_three_scales_alone():
    base = base_model()
    samples = samples_of(base, (2.0, 0.4), 3.0)
    scales, error = fitted("three_scales", base, samples)
    assert scales == pytest.approx({"psi": 2.0, "omega": 0.4, "pi": 3.0}, rel=1e-4)
    assert error < 1e-11
    assert fitted("scale", base, samples)[1] > 1e-2


def test_three_scales_are_those_of_a_direct_minimisation(rng):
    base = base_model(("pi", "omega"))
    x = torch.from_numpy(rng.standard_normal((5, 2, 8, 8)).astype(np.float32))
    y = samples_of(base, (1.5, 0.7), 2.0).targets[:5]
    y = y + torch.from_numpy(0.3 * rng.standard_normal(y.shape).astype(np.float32))
    _, error = fitted("three_scales", base, Samples(x, y))
    precise = base.copy()
    precise.module.double()

    def of(numbers: np.ndarray) -> float:
        g, a = (torch.from_numpy(part)[:, None, None] for part in np.split(numbers, 2))
        with torch.no_grad():
            wrong = (a * precise(x.double() * g) - y).square().sum()
        return float(wrong / y.double().square().sum())

    found = minimize(of, np.ones(4), method="BFGS", options={"gtol": 1e-9})
    assert error == pytest.approx(found.fun, rel=1e-6)
    assert error < 0.99 * of(np.ones(4)) and error < fitted("scale", base, Samples(x, y))[1]


def test_nothing_to_fit_leaves_a_factor_of_zero_and_finite_numbers():
    base = base_model()
    nothing = Samples(torch.ones(2, 2, 8, 8), torch.zeros(2, 1, 8, 8))
    scales, _ = fitted("three_scales", base, nothing)
    assert scales == {"psi": 1.0, "omega": 1.0, "pi": 0.0}


def test_prediction_applies_scales_under_any_way(rng):
    """predict = a σ f(g x / σ) in physical units, for statistics and for snapshots' own sizes."""
    base, values = base_model(), fields_of(rng)
    stored = own("base", values)
    scales = {"psi": 2.0, "omega": -0.5, "pi": 3.0}
    for way in WAYS:
        by = statistics_of(way, stored, stored)
        x = inputs(by, values)[:, :2] * torch.tensor([2.0, -0.5])[:, None, None]
        with torch.no_grad():
            expected = 3.0 * by.std["pi"] * base(x).double().numpy()
        found = predict(base, by.scaled_by(scales), values)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
