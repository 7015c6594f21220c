"""`eddyscope import`: the user's arrays, from wherever they stand, are what readers get."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr

import imports
from eddyscope.__main__ import dispatch
from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.describe import describe
from eddyscope.config.errors import CaseError
from eddyscope.config.provenance import file_digest
from eddyscope.filtering.fields import GivenFields
from eddyscope.filtering.kernels import FILTERS
from eddyscope.spectral.rectangle import minus_inverse_laplacian, minus_laplacian
from imports import DIMS, FIELDS, MEMBERS, SAMPLES, N

GIVEN = imports.arrays()


def assert_holds(dataset, fields: dict[str, np.ndarray], n: int = N) -> None:
    """The dataset has exactly these arrays (member, sample, y, x), in its own precision."""
    assert dataset.complete and dataset.verify() == []
    for name, values in fields.items():
        found = dataset.read(n, name)[:, :, 0]
        np.testing.assert_array_equal(found, values.astype(found.dtype), err_msg=name)


def test_arrays_become_a_dataset_that_readers_know(tmp_path):
    options = imports.save(tmp_path, GIVEN)
    dataset = imports.run(tmp_path / "a.h5", *options, *DIMS, "--start", "2")
    assert_holds(dataset, GIVEN)
    assert dataset.time.tolist() == [[2.0, 2.5, 3.0]] * MEMBERS
    assert dataset.system == "imported" and dataset.layers == 1
    assert dataset.attributes["fields"] == "psi omega pi"
    assert {part: len(members) for part, members in dataset.parts.items()} == {
        "train": 1, "validation": 0, "test": 1,
    }  # fmt: skip
    assert "energy not known" in quality(dataset).summary
    assert dataset.spectra()["energy"].shape == (MEMBERS, SAMPLES, 0)
    with xr.open_dataset(tmp_path / "a.h5", group="n016", engine="h5netcdf") as group:
        assert group["pi"].dims == ("member", "sample", "y", "x")
        assert group.attrs["filter_width"] == pytest.approx(2.0 * np.pi / N)


def test_a_dataset_says_where_it_comes_from(tmp_path):
    options = [*imports.save(tmp_path, GIVEN), *DIMS, "--scale", "pi=-1", "psi=1"]
    attributes = imports.run(tmp_path / "a.h5", *options).attributes
    sources = {source["field"]: source for source in json.loads(attributes["sources"])}
    assert sources["pi"] == {
        "field": "pi",
        "file": str(tmp_path / "pi.npy"),
        "scale": -1.0,
        "sha256": file_digest(tmp_path / "pi.npy"),
    }
    assert "--scale pi=-1 psi=1" in attributes["command"]
    assert "laplacian(psi) = -omega" in attributes["sign_convention"]


def test_a_dry_run_tries_the_first_sample_and_writes_nothing(tmp_path, capfd):
    options = [*imports.save(tmp_path, GIVEN), *DIMS, "--dry-run"]
    before = set(tmp_path.iterdir())
    assert dispatch(["import", str(tmp_path / "a.h5"), *options]) == 0
    said = capfd.readouterr().out
    assert "2 members x 3 samples" in said and "psi and omega fit" in said
    assert "a.h5 would take 0.0 MiB; nothing is written" in said
    with pytest.raises(CaseError, match=r"psi is off by a factor 0\.5"):
        dispatch(["import", str(tmp_path / "a.h5"), *options, "--scale", "psi=2"])
    assert set(tmp_path.iterdir()) == before


def test_what_is_wrong_with_the_samples_is_told(tmp_path, capfd):
    """In words that fit data from elsewhere; and without vorticity to compare."""
    same = {"psi": np.repeat(GIVEN["psi"][:1, :1], 2, axis=0).repeat(3, axis=1)}
    same["pi"] = same["psi"]
    imports.run(tmp_path / "a.h5", *imports.save(tmp_path, same), *DIMS, "--walls", "y")
    said = capfd.readouterr().out
    assert "imported's members 0, 1 are alike" in said and "import each run once" in said
    assert "imported's samples are not independent" in said and "further apart (now 0.5)" in said
    omega = np.stack([imports.vorticity(16, m) for m in range(2)])[:, None]
    np.save(tmp_path / "omega.npy", omega * np.array([1.0, 2.0])[None, :, None, None])
    full = ["--omega-full", str(tmp_path / "omega.npy"), "--n", "8", *DIMS]
    imports.run(tmp_path / "b.h5", *full)
    assert "changes by 300 %" in (said := capfd.readouterr().out) and "import later samples" in said


def test_info_tells_of_it(tmp_path):
    fields = {"omega": GIVEN["omega"][..., :12, :], "pi": GIVEN["pi"][..., :12, :]}
    options = [*imports.save(tmp_path, fields), *DIMS, "--walls", "y", "--length", "1.5,2"]
    imports.run(tmp_path / "a.h5", *options)
    lines = describe(tmp_path / "a.h5")
    assert "grids: 12 x 16 (filter width 0.125)" in lines
    assert "fields: omega pi in a box of 1.5 (y, walls) x 2 (x, periodic)" in lines
    assert f"imported: omega of {tmp_path}/omega.npy, pi of {tmp_path}/pi.npy" in lines
    assert "checksums: all match" in lines


# --- Files ---------------------------------------------------------------------------------


def as_npz(folder: Path) -> list[str]:
    np.savez_compressed(folder / "all.npz", **GIVEN)
    return [*(w for name in FIELDS for w in (f"--{name}", f"{folder}/all.npz:{name}")), *DIMS]


def as_npz_by_name(folder: Path) -> list[str]:
    np.savez(folder / "all.npz", other=np.zeros(3), **GIVEN)
    return [*(w for name in FIELDS for w in (f"--{name}", f"{folder}/all.npz")), *DIMS]


def as_hdf5(folder: Path) -> list[str]:
    with h5py.File(folder / "all.h5", "w") as file:
        for name, values in GIVEN.items():
            file[f"run/{name}"] = values.astype(">f8")
    return [*(w for name in FIELDS for w in (f"--{name}", f"{folder}/all.h5:run/{name}")), *DIMS]


def tree() -> xr.Dataset:
    dims = ("ensemble", "time", "y", "x")
    times = {"time": [0.0, 0.5, 1.0]}
    return xr.Dataset({k: (dims, v) for k, v in GIVEN.items()}, coords=times)


def as_netcdf(folder: Path) -> list[str]:
    tree().to_netcdf(folder / "all.nc", engine="h5netcdf")
    return [w for name in FIELDS for w in (f"--{name}", f"{folder}/all.nc:{name}")]


def as_netcdf_3(folder: Path) -> list[str]:
    tree().to_netcdf(folder / "all.nc", engine="scipy", unlimited_dims=["ensemble"])
    return [w for name in FIELDS for w in (f"--{name}", f"{folder}/all.nc:{name}")]


def as_matlab(folder: Path) -> list[str]:
    scipy.io.savemat(folder / "all.mat", GIVEN, do_compression=True)
    return [*(w for name in FIELDS for w in (f"--{name}", f"{folder}/all.mat")), *DIMS]


def as_matlab_7_3(folder: Path) -> list[str]:
    """HDF5 behind 512 bytes of its own, the axes in the opposite order."""
    with h5py.File(folder / "all.mat", "w", userblock_size=512) as file:
        for name, values in GIVEN.items():
            file[name] = values.T
    content = bytearray((folder / "all.mat").read_bytes())
    content[:19] = b"MATLAB 7.3 MAT-file"
    (folder / "all.mat").write_bytes(content)
    words = [w for name in FIELDS for w in (f"--{name}", f"{folder}/all.mat")]
    return [*words, "--dims", "x,y,sample,member", "--interval", "0.5"]


def as_transposed(folder: Path) -> list[str]:
    options = imports.save(folder, {k: v.transpose(3, 1, 0, 2) for k, v in GIVEN.items()})
    return [*options, "--dims", "x,time,member,y", "--interval", "0.5"]


def as_a_file_a_sample(folder: Path) -> list[str]:
    """Ten and more, so that names in plain order would be in the wrong one; axes of length 1."""
    options = []
    for name, values in GIVEN.items():
        for s in range(SAMPLES):
            np.save(folder / f"{name}_{5 * s}.npy", values[:, s : s + 1, None])
        options += [f"--{name}", f"{folder}/{name}_*.npy"]
    return [*options, "--dims", "member,sample,depth,y,x", "--interval", "0.5"]


def as_a_file_a_member(folder: Path) -> list[str]:
    names = [str(folder / f"run{m}.nc") for m in range(MEMBERS)]
    for m, name in enumerate(names):
        tree().isel(ensemble=m).to_netcdf(name, engine="h5netcdf")
    words = {name: [f"{file}:{name}" for file in names] for name in FIELDS}
    return [*(w for name in FIELDS for w in (f"--{name}", *words[name])), "--join", "member"]


@pytest.mark.parametrize(
    "make",
    [
        as_npz, as_npz_by_name, as_hdf5, as_netcdf, as_netcdf_3, as_matlab, as_matlab_7_3,
        as_transposed, as_a_file_a_sample,
        as_a_file_a_member,
    ],
)  # fmt: skip
def test_wherever_arrays_stand_the_dataset_is_the_same(tmp_path, make: Callable):
    dataset = imports.run(tmp_path / "a.h5", *make(tmp_path), "--precision", "float64")
    assert_holds(dataset, GIVEN)
    assert dataset.time.tolist() == [[0.0, 0.5, 1.0]] * MEMBERS


def test_a_dataset_of_this_program_is_imported_as_any_netcdf(tmp_path):
    first = imports.run(tmp_path / "a.h5", *imports.save(tmp_path, GIVEN), *DIMS)
    words = (w for name in FIELDS for w in (f"--{name}", f"{tmp_path}/a.h5:n016/{name}"))
    second = imports.run(tmp_path / "b.h5", *words, "--interval", "0.5")
    assert_holds(second, {name: first.read(N, name)[:, :, 0] for name in FIELDS})


def test_packed_numbers_are_unpacked(tmp_path):
    packing = {"dtype": "int16", "scale_factor": 1e-3, "add_offset": 0.25, "_FillValue": -999}
    encoding = {"t": packing}
    values = np.round(np.random.default_rng(1).uniform(-1, 1, GIVEN["psi"].shape), 2)
    temperature = xr.Dataset({"t": (("member", "time", "y", "x"), values)})
    temperature.to_netcdf(tmp_path / "t.nc", engine="h5netcdf", encoding=encoding)
    options = [*imports.save(tmp_path, GIVEN), *DIMS, "--field", f"temperature={tmp_path}/t.nc"]
    dataset = imports.run(tmp_path / "a.h5", *options, "--precision", "float64")
    np.testing.assert_allclose(dataset.read(N, "temperature")[:, :, 0], values, atol=1e-12)
    assert dataset.attributes["fields"] == "psi omega pi temperature"


def on_points(y: np.ndarray, x: np.ndarray, fields: dict[str, np.ndarray], file: Path) -> list[str]:
    """The fields in a NetCDF file that tells where their points are."""
    dims = ("member", "time", "y", "x")
    coordinates = {"y": y, "x": x, "time": [0.0, 0.5, 1.0]}
    xr.Dataset({k: (dims, v) for k, v in fields.items()}, coordinates).to_netcdf(
        file, engine="h5netcdf"
    )
    return [w for name in fields for w in (f"--{name}", f"{file}:{name}")]


POINTS = np.arange(N) * (2.0 * np.pi / N)


def test_points_that_go_down_are_turned(tmp_path, capfd):
    """A field is not its own mirror image: J changes its sign."""
    turned = {name: values[..., ::-1, :] for name, values in GIVEN.items()}
    options = on_points(POINTS[::-1], POINTS, turned, tmp_path / "a.nc")
    assert_holds(imports.run(tmp_path / "a.h5", *options), GIVEN)
    assert "y turned so that it goes up" in capfd.readouterr().out


def test_a_length_that_the_file_tells_must_be_given(tmp_path):
    length = 1000.0
    psi = GIVEN["psi"] * (length / (2 * np.pi)) ** 2
    fields = {"psi": psi, "pi": GIVEN["pi"]}
    scaled = POINTS * length / (2 * np.pi)
    options = on_points(scaled, scaled, fields, tmp_path / "a.nc")
    with pytest.raises(CaseError, match=r"y goes over 1000 in the file.* give --length 1000,1000"):
        imports.run(tmp_path / "a.h5", *options)
    dataset = imports.run(tmp_path / "a.h5", *options, "--length", "1000")
    found = dataset.read(N, "omega")[:, :, 0]
    np.testing.assert_allclose(found, GIVEN["omega"], atol=1e-6 * np.abs(found).max())


def test_points_at_uneven_distances_are_between_walls(tmp_path):
    uneven = 1.0 - np.cos(np.linspace(0.0, np.pi, N))
    fields = {"omega": GIVEN["omega"], "pi": GIVEN["pi"]}
    options = on_points(uneven, POINTS, fields, tmp_path / "a.nc")
    with pytest.raises(CaseError, match=r"along y are not evenly spaced.*--walls y"):
        imports.run(tmp_path / "a.h5", *options)
    with pytest.raises(CaseError, match=r"y goes over 2 in the file.* --length 2,6\.28319"):
        imports.run(tmp_path / "a.h5", *options, "--walls", "y")
    options += ["--walls", "y", "--length", "2,6.283185307"]
    assert_holds(imports.run(tmp_path / "a.h5", *options), fields)
    with xr.open_dataset(tmp_path / "a.h5", group="n016", engine="h5netcdf") as group:
        np.testing.assert_array_equal(group["y"], uneven)


def test_more_files_than_an_attribute_could_name(tmp_path):
    """HDF5's attributes hold 64 KiB; and a name that is no text."""
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    samples = 150
    psi = imports.arrays(1, samples, 4)["psi"][0]
    for s in range(samples):
        np.save(folder / f"psi{s}.npy", psi[s])
    names = [str(folder / f"psi{s}.npy") for s in range(samples)]
    for s in range(samples):
        np.save(folder / f"t{s}.npy", psi[s])
    os.rename(folder / "t7.npy", os.fsencode(folder) + b"/t7\xff.npy")
    words = ["--psi", *names, "--field", f"t={folder}/t*.npy", "--interval", "1"]
    dataset = imports.run(tmp_path / "a.h5", *words)
    assert dataset.samples == samples
    np.testing.assert_array_equal(dataset.read(4, "psi")[0, :, 0], psi.astype("float32"))
    told = json.loads(dataset.attributes["sources"])[0]
    assert (told["file"], told["last"], told["files"]) == (names[0], names[-1], samples)
    assert any(f"({samples} files)" in line for line in describe(tmp_path / "a.h5"))


# --- What follows from what ----------------------------------------------------------------


@pytest.mark.parametrize("left_out", ["psi", "omega"])
def test_what_follows_is_computed(tmp_path, left_out):
    given = {name: values for name, values in GIVEN.items() if name != left_out}
    options = [*imports.save(tmp_path, given), *DIMS, "--precision", "float64"]
    dataset = imports.run(tmp_path / "a.h5", *options)
    assert_holds(dataset, given)
    found = dataset.read(N, left_out)[:, :, 0]
    np.testing.assert_allclose(found, GIVEN[left_out], atol=1e-12 * np.abs(found).max())


def test_the_laplacian_of_a_rectangle_is_exact():
    length, (ny, nx) = (3.0, 5.0), (12, 15)
    y = np.arange(ny)[:, None] * (length[0] / ny)
    x = np.arange(nx)[None, :] * (length[1] / nx)
    ky, kx = 2 * np.pi * 2 / length[0], 2 * np.pi * 3 / length[1]
    psi = np.cos(kx * x) * np.sin(ky * y) + 0.3 * np.cos(kx * x)
    omega = (kx**2 + ky**2) * np.cos(kx * x) * np.sin(ky * y) + 0.3 * kx**2 * np.cos(kx * x)
    np.testing.assert_allclose(minus_laplacian(psi, length), omega, atol=1e-11)
    np.testing.assert_allclose(minus_inverse_laplacian(omega, length), psi, atol=1e-13)


def test_a_rectangle_of_another_length(tmp_path):
    """psi and omega are of one flow only where the box is as long as is said."""
    length, (ny, nx) = (3.0, 5.0), (12, 20)
    psi = np.random.default_rng(0).standard_normal((2, 1, ny, nx))
    psi = minus_inverse_laplacian(psi, length)
    fields = {"psi": psi, "omega": minus_laplacian(psi, length), "pi": psi**2}
    options = [*imports.save(tmp_path, fields), *DIMS, "--width", "2"]
    dataset = imports.run(tmp_path / "a.h5", *options, "--length", "3,5")
    assert_holds(dataset, fields, n=nx)
    assert list(dataset.attributes["length"]) == [3.0, 5.0]
    assert list(dataset.attributes["periodic"]) == [1, 1]
    assert dataset.filter_width == {nx: pytest.approx(2 * 5.0 / nx)}
    with xr.open_dataset(tmp_path / "a.h5", group="n020", engine="h5netcdf") as group:
        np.testing.assert_allclose(group["y"], np.arange(ny) * 0.25)
    with pytest.raises(CaseError, match="psi and omega do not fit"):
        imports.run(tmp_path / "b.h5", *options, "--length", "5")


def test_with_walls_nothing_is_computed_or_checked(tmp_path):
    fields = {"omega": GIVEN["omega"], "pi": GIVEN["pi"]}
    options = [*imports.save(tmp_path, fields), *DIMS, "--walls", "y", "--length", "1.5"]
    dataset = imports.run(tmp_path / "a.h5", *options)
    assert_holds(dataset, fields)
    assert dataset.attributes["fields"] == "omega pi"
    assert list(dataset.attributes["periodic"]) == [0, 1]
    with xr.open_dataset(tmp_path / "a.h5", group="n016", engine="h5netcdf") as group:
        assert group["y"].values[-1] == pytest.approx(1.5)  # on the wall
        assert group["x"].values[-1] == pytest.approx(1.5 * 15 / 16)


def test_layers_are_taken_as_they_are(tmp_path):
    deep = {name: np.stack([v, 2.0 * v], axis=2) for name, v in GIVEN.items() if name != "psi"}
    deep["psi"] = np.stack([GIVEN["psi"]] * 2, axis=2)  # layers are coupled: not that of omega
    options = imports.save(tmp_path, deep)
    options += ["--dims", "member,sample,layer,y,x", "--interval", "1"]
    dataset = imports.run(tmp_path / "a.h5", *options)
    assert dataset.layers == 2
    np.testing.assert_array_equal(dataset.read(N, "pi"), deep["pi"].astype("float32"))


# --- Reasons -------------------------------------------------------------------------------

REASONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "sign": (lambda psi: -psi, r"psi has the other sign; it fits with --scale psi=-1$"),
    "n²": (lambda psi: psi * N**2, r"too large by n².*--scale psi=0\.00390625"),
    "1/n²": (lambda psi: psi / N**2, r"too small by n².*--scale psi=256"),
    "units": (lambda psi: psi * 86400.0, r"factor 1\.157e-05.*--scale psi=1\.1574"),
    "sign and n²": (lambda psi: -psi * N**2, r"other sign and psi is too large by n²"),
    "swapped": (lambda psi: np.swapaxes(psi, -1, -2), "axes y and x of one of them are swapped"),
    "swapped, sign": (lambda psi: -np.swapaxes(psi, -1, -2), "other sign and the axes y and x"),
    "reversed": (lambda psi: psi[..., ::-1, :], "the axis y of one of them is reversed"),
    "another": (lambda psi: psi[::-1], "neither a sign, a factor, swapped axes"),
}


@pytest.mark.parametrize("name", list(REASONS))
def test_what_is_wrong_with_psi_is_named(tmp_path, name):
    change, words = REASONS[name]
    options = imports.save(tmp_path, {**GIVEN, "psi": change(GIVEN["psi"])})
    with pytest.raises(CaseError, match=words):
        imports.run(tmp_path / "a.h5", *options, *DIMS)
    assert not (tmp_path / "a.h5").exists()


def test_the_factor_that_is_named_mends_it(tmp_path):
    options = imports.save(tmp_path, {**GIVEN, "psi": -GIVEN["psi"] * 86400.0})
    with pytest.raises(CaseError) as refused:
        imports.run(tmp_path / "a.h5", *options, *DIMS, "--scale", "psi=3")
    factor = str(refused.value).rpartition(" ")[2]
    dataset = imports.run(tmp_path / "a.h5", *options, *DIMS, "--scale", factor)
    found = dataset.read(N, "psi")[:, :, 0]
    np.testing.assert_allclose(found, GIVEN["psi"], atol=1e-5 * np.abs(found).max())


def test_a_box_of_another_length_is_named(tmp_path):
    options = imports.save(tmp_path, GIVEN)
    with pytest.raises(CaseError, match=r"psi is that of a box of length 2π; .* psi=0\.0569932"):
        imports.run(tmp_path / "a.h5", *options, *DIMS, "--length", "1.5")


def test_a_tolerance_admits_what_finite_differences_give(tmp_path):
    fields = {**GIVEN, "psi": GIVEN["psi"] * 1.02}
    options = [*imports.save(tmp_path, fields), *DIMS]
    with pytest.raises(CaseError, match=r"0\.02 in member 0, sample 0, allowed 0\.001"):
        imports.run(tmp_path / "a.h5", *options)
    assert_holds(imports.run(tmp_path / "a.h5", *options, "--tolerance", "0.05"), fields)


@pytest.mark.parametrize(("sign", "warned"), [(1.0, True), (-1.0, False)])
def test_a_term_that_adds_enstrophy_is_told(tmp_path, capfd, sign, warned):
    fields = {**GIVEN, "pi": GIVEN["pi"] + 0.5 * GIVEN["omega"] * GIVEN["pi"].std()}
    options = [*imports.save(tmp_path, fields), *DIMS, "--scale", f"pi={sign}"]
    imports.run(tmp_path / "a.h5", *options)
    said = capfd.readouterr().out
    assert ("import it again with --scale pi=-1" in said) is warned
    assert (
        f"so pi {'adds enstrophy to' if warned else 'drains enstrophy from'} the resolved" in said
    )


@pytest.mark.parametrize(
    ("width", "told"), [([], "1 spacing(s) of the grid (taken"), (["--width", "2"], "2 spacing(s)")]
)
def test_the_filter_width_of_filtered_fields_is_told(tmp_path, capfd, width, told):
    options = [*imports.save(tmp_path, GIVEN), *DIMS, *width]
    imports.run(tmp_path / "a.h5", *options)
    assert f"filter width: {told}" in capfd.readouterr().out


# --- Full resolution -----------------------------------------------------------------------


def test_vorticity_at_full_resolution_is_filtered(tmp_path):
    omega = np.array([[imports.vorticity(32, m, s) for s in range(2)] for m in range(3)])
    np.save(tmp_path / "omega.npy", omega)
    options = ["--omega-full", str(tmp_path / "omega.npy"), *DIMS, "--precision", "float64"]
    options += ["--filter", "box", "--n", "16,8", "--width", "1.5"]
    dataset = imports.run(tmp_path / "a.h5", *options)
    assert dataset.grids == [8, 16] and dataset.verify() == []
    given = GivenFields(32, FILTERS.settings("box", n=[8, 16], width=1.5))
    for m, s in np.ndindex(3, 2):
        for n, fields in given.filtered(omega[m, s]).items():
            for name, values in fields.items():
                np.testing.assert_array_equal(dataset.read(n, name)[m, s, 0], values)
    assert np.abs(dataset.read(16, "pi")).max() > 0.01 * np.abs(dataset.read(16, "omega")).max()
    enstrophy = dataset.diagnostics()["enstrophy"]
    np.testing.assert_allclose(enstrophy, 0.5 * (omega**2).mean(axis=(2, 3)), rtol=0.05)


def test_the_length_of_the_box_scales_psi_and_energy_alone(tmp_path):
    np.save(tmp_path / "omega.npy", imports.vorticity(32, 1))
    options = ["--omega-full", str(tmp_path / "omega.npy"), "--n", "16", "--precision", "float64"]
    plain = imports.run(tmp_path / "a.h5", *options)
    long = imports.run(tmp_path / "b.h5", *options, "--length", "3.0")
    square = (3.0 / (2.0 * np.pi)) ** 2
    for name, factor in {"psi": square, "omega": 1.0, "pi": 1.0}.items():
        np.testing.assert_allclose(long.read(16, name), factor * plain.read(16, name), rtol=1e-12)
    for name, factor in {"energy": square, "enstrophy": 1.0, "palinstrophy": 1 / square}.items():
        found = long.diagnostics()[name] / plain.diagnostics()[name]
        np.testing.assert_allclose(found, factor, rtol=1e-12)
    psi, omega = long.read(16, "psi")[0, 0, 0], long.read(16, "omega")[0, 0, 0]
    np.testing.assert_allclose(minus_laplacian(psi, (3.0, 3.0)), omega, atol=1e-10)
    assert long.filter_width == {16: pytest.approx(2.0 * 3.0 / 16)}


def test_groups_say_time_signs_and_origin_themselves(tmp_path):
    """As xarray shows them to who opens a group alone; `time` is a coordinate of each."""
    options = ["--omega-full", str(tmp_path / "w.npy"), "--n", "8", "--dims", "sample,y,x"]
    np.save(tmp_path / "w.npy", np.stack([imports.vorticity(16, s) for s in range(2)]))
    imports.run(tmp_path / "a.h5", *options, "--interval", "0.5", "--start", "1")
    groups = xr.open_datatree(tmp_path / "a.h5", engine="h5netcdf", decode_times=False).children
    assert set(groups) >= {"n008", "spectra", "diagnostics"}
    for name, group in groups.items():
        assert "time" in group.coords and group.coords["time"].values.min() == 1.0, name
        assert "laplacian(psi) = -omega" in group.attrs["sign_convention"], name
        assert group.attrs["system"] == "imported" and "code_version" in group.attrs, name
    assert groups["n008"]["pi"].coords["time"].dims == ("member", "sample")
