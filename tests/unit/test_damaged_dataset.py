"""A flipped bit anywhere in a dataset is noticed by who reads it, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import synthetic
from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, create
from eddyscope.config.errors import CaseError
from eddyscope.parallel.world import World

MEMBERS, SAMPLES, RECORDS = 2, 3, 4


@pytest.fixture(params=[1, 2], ids=["one layer", "two layers"])
def path(request, tmp_path) -> Path:
    """A complete dataset with unfiltered fields and diagnostics."""
    times = tuple(float(t) for t in range(SAMPLES))
    records = tuple(0.5 * t for t in range(RECORDS))
    layout = Layout(MEMBERS, times, records, 7, {4: 0.5, 8: 0.3}, full=16, layers=request.param)
    path, comm = tmp_path / "dataset.h5", World.single().comm
    case = synthetic.make_case(tmp_path).model_dump_json(serialize_as_any=True)
    create(path, comm, layout, {"case": case, "system": "base", "code_version": "1"})
    rng = np.random.default_rng(1)

    def field(n: int) -> np.ndarray:
        return rng.standard_normal((layout.layers, n, n))

    with DatasetWriter.opened(path, layout, comm, range(MEMBERS)) as writer:
        for record in range(RECORDS):
            values = {name: rng.standard_normal(MEMBERS) for name in schema.DIAGNOSTICS}
            writer.add_record(record, slice(0, MEMBERS), values)
        for sample in range(SAMPLES):
            fields = {
                n: {m: {v: field(n) for v in schema.VARIABLES} for m in range(MEMBERS)}
                for n in layout.grids
            }
            spectra = {
                m: {v: rng.standard_normal(7) for v in schema.SPECTRA} for m in range(MEMBERS)
            }
            writer.add_sample(sample, fields, spectra, {m: field(16) for m in range(MEMBERS)})
    return path


def read_all(path: Path) -> None:
    """All that a reader can ask for."""
    dataset = Dataset(path)
    for n in (4, 8):
        dataset.require(n)
        for name in schema.VARIABLES:
            dataset.read(n, name)
    dataset.read_full()
    dataset.spectra()
    dataset.diagnostics()


def flip(path: Path, place: int, bit: int = 0) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))


def test_a_flipped_bit_anywhere_is_noticed(path):
    """In the metadata, coordinates, times, marks, checksums and every array."""
    read_all(path)
    size = path.stat().st_size
    for place in range(0, size, 331):
        flip(path, place, place % 8)
        with pytest.raises(CaseError) as raised:
            read_all(path)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value), place
        flip(path, place, place % 8)
    read_all(path)


READERS: dict[str, Callable[[Dataset], object]] = {
    "n004/psi": lambda dataset: dataset.read(4, "psi"),
    "n008/pi": lambda dataset: dataset.read(8, "pi", [1], slice(2, 3)),
    "n008/pi_checksum": lambda dataset: dataset.read(8, "pi", [1], slice(2, 3)),
    "full/omega": lambda dataset: dataset.read_full(),
    "spectra/energy": lambda dataset: dataset.spectra(),
    "spectra/enstrophy_flux_checksum": lambda dataset: dataset.spectra(),
    "diagnostics/cfl": lambda dataset: dataset.diagnostics(),
    "diagnostics/checksum": lambda dataset: dataset.diagnostics(),
}


def place_of(path: Path, name: str) -> int:
    """Of the last byte of an array in the file."""
    with h5py.File(path) as file:
        return int(file[name].id.get_offset()) + file[name].nbytes - 1


@pytest.mark.parametrize("name", list(READERS))
def test_it_is_named_by_the_reader_of_what_is_damaged_alone(path, name):
    flip(path, place_of(path, name), 3)
    dataset = Dataset(path)
    for other, read in READERS.items():
        same = other.removesuffix("_checksum").split("/") == name.removesuffix("_checksum").split(
            "/"
        )
        groups = {other.split("/")[0], name.split("/")[0]}
        if same or groups in ({"spectra"}, {"diagnostics"}):
            with pytest.raises(CaseError, match=f"{name.split('/')[0]}.* is damaged"):
                read(dataset)
        else:
            read(dataset)


def test_what_is_damaged_elsewhere_does_not_matter(path):
    flip(path, place_of(path, "n008/pi"))  # the last sample of the last member
    dataset = Dataset(path)
    assert dataset.read(8, "pi", [0]).shape == (1, SAMPLES, dataset.layers, 8, 8)
    assert dataset.read(8, "pi", [1], slice(0, 2)).shape == (1, 2, dataset.layers, 8, 8)
    assert dataset.verify() == [(8, 1, 2)]


@pytest.mark.parametrize("name", ["n008/committed", "n008/time", "n008/x", "spectra/wavenumber"])
def test_marks_times_and_coordinates_are_covered(path, name):
    flip(path, place_of(path, name))
    with pytest.raises(CaseError, match=r"is damaged|are committed"):
        Dataset(path).require(8)


def test_the_digest_is_of_all_that_may_be_used_and_of_nothing_else(path):
    before = Dataset(path).digest
    with synthetic.edited(path) as file:
        file.attrs["code_version"] = "2"
    assert Dataset(path).digest == before
    seen = {before}
    for name, value in {"sign": 1, "seed": 4}.items():
        with synthetic.edited(path) as file:
            file.attrs[name] = value
        seen.add(Dataset(path).digest)
    with synthetic.edited(path) as file:
        file["n008/pi_checksum"][0, 0] += 1
    seen.add(Dataset(path).digest)
    assert len(seen) == 4


def test_an_unfinished_dataset_gives_what_is_committed(path):
    with synthetic.edited(path) as file:
        for group in ("n004", "n008"):
            file[group]["committed"][1, 2] = 0
        file["diagnostics/energy"][0, 3] = 7.0  # a record half written by a run that was killed
    dataset = Dataset(path)
    with pytest.raises(CaseError, match="not committed; finish it"):
        dataset.read(8, "pi")
    assert dataset.read(8, "pi", [0]).shape[:2] == (1, 3)
    spectra = dataset.spectra()["energy"]
    assert np.isnan(spectra[1, 2]).all() and np.isfinite(spectra[0]).all()
    energy = dataset.diagnostics()["energy"]
    assert np.isnan(energy[0, 3]) and np.isfinite(energy[1]).all()


def test_it_opens_in_xarray_with_layers_as_a_dimension(path):
    layers = Dataset(path).layers
    with xr.open_dataset(path, group="n008", engine="h5netcdf") as found:
        several = ("layer",) if layers > 1 else ()
        assert found["pi"].dims == ("member", "sample", *several, "y", "x")
        assert found["pi_checksum"].dims == ("member", "sample", *several)
        if layers > 1:
            np.testing.assert_array_equal(found["layer"], [0, 1])
    with xr.open_dataset(path, group="diagnostics", engine="h5netcdf") as found:
        assert found["energy"].dims == ("member", "record")
