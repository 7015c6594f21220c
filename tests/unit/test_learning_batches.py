"""Choice of samples, normalisation, order, rotations: the same for all, whatever the ranks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from eddyscope.artefacts.dataset.derived import derive
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.split import Block
from eddyscope.artefacts.normalisation import Normalisation, statistics_of
from eddyscope.config.errors import CaseError
from eddyscope.learning.augment import rotated
from eddyscope.learning.batches import (
    Fields,
    Samples,
    choose,
    load_fields,
    normalised_inputs,
)
from eddyscope.learning.order import Order
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World
from synthetic import make_case, write_datasets

ONE = Channels.of_flow()


def fields_of(psi: np.ndarray, omega: np.ndarray, pi: np.ndarray) -> Fields:
    values = {"psi": psi, "omega": omega, "pi": pi}
    return Fields(values, tuple((0, s) for s in range(len(psi))))


def own_of(system: str, channels: dict[str, np.ndarray]) -> Normalisation:
    return Normalisation.own(system, list(channels), lambda: [channels])


def places(members: list[int], samples: int, count: int | None) -> list[tuple[int, int]]:
    blocks = [Block(m, m, range(samples)) for m in members]
    return [place for _, place in choose(blocks, count)]


def test_samples_are_spread_over_members_and_time():
    assert places([0, 1], 10, 4) == [(0, 2), (1, 2), (0, 7), (1, 7)]
    assert places([3, 5, 6], 9, 4) == [(3, 2), (5, 4), (6, 4), (3, 6)]
    everything = places([0, 1], 3, None)
    assert sorted(everything) == [(m, s) for m in (0, 1) for s in range(3)]


@pytest.mark.parametrize("count", range(13))
def test_no_sample_is_chosen_twice(count: int):
    chosen = places([0, 1, 2], 4, count)
    assert len(set(chosen)) == len(chosen) == count


@pytest.mark.parametrize("count", range(10))
def test_blocks_of_unlike_lengths_give_all_they_have(count: int):
    blocks = [Block(0, 0, range(2, 4)), Block(1, 0, range(4, 10)), Block(2, 1, range(1))]
    chosen = choose(blocks, count)
    assert len({place for _, place in chosen}) == len(chosen) == count
    assert all(sample in b.samples and member == b.member for b, (member, sample) in chosen)


def test_too_few_samples():
    with pytest.raises(CaseError, match="at most 12"):
        places([0, 1, 2], 4, 13)


def test_fields_are_those_of_the_file(tmp_path: Path):
    case = make_case(tmp_path)
    write_datasets(case, tmp_path, World.single())
    dataset = Dataset(tmp_path / "target" / "dataset.h5")
    fields = load_fields(dataset, 16, "test", 4)
    assert {m for m, _ in fields.origin} == {3, 4}
    for name in ("psi", "omega", "pi"):
        for i, (m, s) in enumerate(fields.origin):
            assert np.array_equal(fields.values[name][i], dataset.read(16, name, [m])[0, s])


def test_normalised_samples_have_unit_spread(rng: np.random.Generator):
    psi, omega, pi = (scale * rng.standard_normal((5, 1, 8, 8)) for scale in (0.1, 30.0, 7.0))
    fields, channels = fields_of(psi, omega, pi), Channels.of_flow(psi.shape[1])
    normalisation = own_of("base", fields.channels(channels.names))
    assert normalisation.std["pi"] == pytest.approx(np.sqrt(np.mean(pi**2)), rel=1e-14)
    samples = Samples.of(fields, normalisation, channels)
    assert samples.inputs.shape == (5, 2, 8, 8) and samples.targets.shape == (5, 1, 8, 8)
    for part in (samples.inputs[:, 0], samples.inputs[:, 1], samples.targets):
        assert float(part.square().mean()) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(samples.targets.numpy() * normalisation.std["pi"], pi, rtol=1e-5)


def test_per_snapshot_normalisation_forgets_amplitudes(rng: np.random.Generator):
    psi, omega = rng.standard_normal((2, 3, 1, 8, 8))
    psi, omega = (field - field.mean((2, 3), keepdims=True) for field in (psi, omega))
    own = own_of("target", {"psi": psi[:, 0], "omega": omega[:, 0], "pi": psi[:, 0]})

    def inputs(psi: np.ndarray, omega: np.ndarray) -> torch.Tensor:
        values = {"psi": psi, "omega": omega}
        return normalised_inputs(statistics_of("snapshot", own, own), values, Channels.of_flow())

    expected = inputs(psi, omega)
    torch.testing.assert_close(inputs(50.0 * psi, 0.01 * omega), expected)
    assert float(expected.square().mean()) == pytest.approx(1.0, rel=1e-5)
    tensors = (torch.from_numpy(field) for field in (psi, omega))
    torch.testing.assert_close(inputs(*tensors), expected, rtol=1e-6, atol=0.0)


def test_every_layer_of_the_flow_has_its_own_channels(rng: np.random.Generator):
    psi, omega, pi = (rng.standard_normal((4, 2, 8, 8)) for _ in range(3))
    fields, channels = fields_of(psi, omega, pi), Channels.of_flow(psi.shape[1])
    normalisation = own_of("base", fields.channels(channels.names))
    assert tuple(normalisation.std) == ("psi_1", "psi_2", "omega_1", "omega_2", "pi_1", "pi_2")
    samples = Samples.of(fields, normalisation, channels)
    for layer in range(2):
        alone, one = fields_of(*(f[:, layer : layer + 1] for f in (psi, omega, pi))), ONE
        own = own_of("base", alone.channels(one.names))
        expected = Samples.of(alone, own, one)
        assert torch.equal(samples.inputs[:, layer::2], expected.inputs)
        assert torch.equal(samples.targets[:, layer : layer + 1], expected.targets)


def test_flow_at_rest_cannot_be_normalised():
    zero = np.zeros((2, 4, 4))
    with pytest.raises(CaseError, match="standard deviation"):
        own_of("base", {"psi": zero + 1, "omega": zero, "pi": zero + 1})


def test_fields_with_a_mean_are_centred_and_come_back(rng: np.random.Generator):
    heat = 5.0 + 0.1 * rng.standard_normal((4, 1, 8, 8))
    fields = Fields({"psi": heat - 5.0, "heat": heat}, tuple((0, s) for s in range(4)))
    channels = Channels.of_fields(["psi"], ["heat"])
    own = own_of("base", fields.channels(channels.names))
    assert own.mean["psi"] == 0.0 and own.mean["heat"] == pytest.approx(heat.mean())
    targets = Samples.of(fields, own, channels).targets.numpy()
    assert abs(targets.mean()) < 1e-5 and targets.std() == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(own.physical("heat", targets), heat, rtol=1e-5)


def test_channels_of_chosen_fields():
    one = Channels.of_fields(["psi", "strain", "heat_2"], ["pi"])
    assert (one.inputs, one.outputs) == (("psi", "strain", "heat_2"), ("pi",))
    assert one.fields(1) == ["psi", "strain", "heat_2", "pi"]
    two = Channels.of_fields(["psi_2", "omega"], ["pi_1"], layers=2)
    assert two.inputs == ("psi_2", "omega_1", "omega_2") and two.outputs == ("pi_1",)
    assert two.fields(2) == ["psi", "omega", "pi"]


def test_velocity_and_strain_follow_from_the_streamfunction():
    """ψ = sin 2x cos 3y + cos x on a rectangle with other sides than 2π."""
    ny, nx, length = 12, 16, (3.0, 5.0)
    y, x = (np.arange(n) * side / n for n, side in zip((ny, nx), length, strict=True))
    m, k = 2 * np.pi * 3 / length[0], 2 * np.pi * 2 / length[1]
    sx, cx, sy, cy = np.sin(k * x), np.cos(k * x), np.sin(m * y)[:, None], np.cos(m * y)[:, None]
    psi = sx * cy
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(derive("u", psi, length), -m * sx * sy, **close)
    np.testing.assert_allclose(derive("v", psi, length), -k * cx * cy, **close)
    np.testing.assert_allclose(derive("omega", psi, length), (k**2 + m**2) * psi, **close)
    shear, stretch = -k * m * cx * sy, (k**2 - m**2) * psi
    expected = np.sqrt(4.0 * shear**2 + stretch**2)
    np.testing.assert_allclose(derive("strain", psi, length), expected, **close)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_share_out_the_same_batches(size: int):
    order = Order(10, 4, (1,), rotations=True)
    whole = list(itertools.islice(order.batches(), 12))
    for batch in whole:
        parts = [batch.part(rank, size) for rank in range(size)]
        assert np.array_equal(np.concatenate([part.indices for part in parts]), batch.indices)
        assert all(part.total == len(batch.indices) for part in parts)
    assert [batch.epoch for batch in whole] == sorted([0, 1, 2, 3] * 3)
    assert sorted(np.concatenate([batch.indices for batch in whole[6:9]])) == list(range(10))
    assert not np.array_equal(whole[6].indices, whole[9].indices)


def test_the_order_goes_on_at_any_step():
    order = Order(10, 4, (1,), rotations=True)
    whole = list(itertools.islice(order.batches(), 9))
    for step in range(9):
        rest = list(itertools.islice(order.batches(step), 9 - step))
        for one, other in zip(rest, whole[step:], strict=True):
            assert np.array_equal(one.indices, other.indices)
            assert np.array_equal(one.turns, other.turns)


def test_rotations_belong_to_samples_not_ranks():
    def turns(size: int) -> dict[int, int]:
        found = {}
        order = Order(40, 8, (5, 1), rotations=True)
        for batch in itertools.islice(order.batches(15), 5):
            for part in (batch.part(rank, size) for rank in range(size)):
                found |= dict(zip(part.indices.tolist(), part.turns.tolist(), strict=True))
        return found

    assert turns(1) == turns(3)
    assert set(turns(1).values()) == {0, 1, 2, 3}


def test_rotated_fields_are_rotated_flows():
    x = torch.randn(5, 2, 6, 6)
    turned = rotated(x, np.array([0, 1, 2, 3, 1]))
    assert torch.equal(turned[0], x[0])
    for i, quarter in ((1, 1), (2, 2), (3, 3), (4, 1)):
        expected = np.rot90(x[i].numpy(), quarter, axes=(1, 2))
        assert np.array_equal(turned[i].numpy(), expected)
