"""Choice of samples, normalisation, order, rotations: the same for all, whatever the ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.split import Block
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import (
    Fields,
    Samples,
    choose,
    load_fields,
    normalised_inputs,
)
from eddyscope.learning.order import batches, rotated
from eddyscope.parallel.world import World
from synthetic import make_case, write_datasets


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
            assert np.array_equal(getattr(fields, name)[i], dataset.read(16, name, [m])[0, s])


def test_normalised_samples_have_unit_spread(rng: np.random.Generator):
    psi, omega, pi = (scale * rng.standard_normal((5, 1, 8, 8)) for scale in (0.1, 30.0, 7.0))
    fields = Fields(psi, omega, pi, tuple((0, s) for s in range(5)))
    normalisation = Normalisation.own("base", fields.by_name())
    assert normalisation.std["pi"] == pytest.approx(np.sqrt(np.mean(pi**2)), rel=1e-14)
    samples = Samples.of(fields, normalisation)
    assert samples.inputs.shape == (5, 2, 8, 8) and samples.targets.shape == (5, 1, 8, 8)
    for part in (samples.inputs[:, 0], samples.inputs[:, 1], samples.targets):
        assert float(part.square().mean()) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(samples.targets.numpy() * normalisation.std["pi"], pi, rtol=1e-5)


def test_per_snapshot_normalisation_forgets_amplitudes(rng: np.random.Generator):
    psi, omega = rng.standard_normal((2, 3, 1, 8, 8))
    psi, omega = (field - field.mean((2, 3), keepdims=True) for field in (psi, omega))
    own = Normalisation.own("target", {"psi": psi, "omega": omega, "pi": psi})
    normalisation = own.per_snapshot()
    one = normalised_inputs(normalisation, psi, omega)
    torch.testing.assert_close(normalised_inputs(normalisation, 50.0 * psi, 0.01 * omega), one)


def test_every_layer_of_the_flow_has_its_own_channels(rng: np.random.Generator):
    psi, omega, pi = (rng.standard_normal((4, 2, 8, 8)) for _ in range(3))
    fields = Fields(psi, omega, pi, tuple((0, s) for s in range(4)))
    normalisation = Normalisation.own("base", fields.by_name())
    assert tuple(normalisation.std) == ("psi_1", "psi_2", "omega_1", "omega_2", "pi_1", "pi_2")
    samples = Samples.of(fields, normalisation)
    for layer in range(2):
        alone = Fields(*(f[:, layer : layer + 1] for f in (psi, omega, pi)), fields.origin)
        expected = Samples.of(alone, Normalisation.own("base", alone.by_name()))
        assert torch.equal(samples.inputs[:, layer::2], expected.inputs)
        assert torch.equal(samples.targets[:, layer : layer + 1], expected.targets)


def test_flow_at_rest_cannot_be_normalised():
    zero = np.zeros((2, 1, 4, 4))
    with pytest.raises(CaseError, match="standard deviation"):
        Normalisation.own("base", Fields(zero + 1, zero, zero + 1, ((0, 0), (0, 1))).by_name())


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_share_out_the_same_batches(size: int):
    def whole(epoch: int) -> list[np.ndarray]:
        return [b.indices for b in batches(10, 4, (1,), epoch)]

    per_rank = [list(batches(10, 4, (1,), 2, r, size, rotations=True)) for r in range(size)]
    for i, batch in enumerate(whole(2)):
        together = np.concatenate([mine[i].indices for mine in per_rank])
        assert np.array_equal(together, batch)
        assert all(mine[i].total == len(batch) for mine in per_rank)
    assert sorted(np.concatenate(whole(2))) == list(range(10))
    assert not np.array_equal(whole(2)[0], whole(3)[0])


def test_rotations_belong_to_samples_not_ranks():
    def turns(size: int) -> dict[int, int]:
        found = {}
        for rank in range(size):
            for batch in batches(40, 8, (5, 1), 3, rank, size, rotations=True):
                found |= dict(zip(batch.indices.tolist(), batch.turns.tolist(), strict=True))
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
