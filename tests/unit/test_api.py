"""The public functions: what they give agrees with the program, and with independent solutions."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import xarray as xr
from torch import nn

import eddyscope
import synthetic
from eddyscope.analysis.kernel_spectra import frequency_response
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.learning.models import load_model
from eddyscope.learning.prediction import predict
from eddyscope.parallel.world import World
from examples.awkward_net import Awkward
from small_flows import relative
from synthetic_models import write_models

FLOW: dict[str, Any] = {
    "kind": "navier_stokes",
    "reynolds": 500.0,
    "drag": 0.1,
    "forcing": {"kind": "deterministic", "wavenumber": 3},
    "initial": {"kind": "random", "peak": 3.0, "energy": 0.5},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with datasets and models of a small case."""
    folder = tmp_path_factory.mktemp("api")
    case = synthetic.make_case(folder)
    synthetic.write_datasets(case, folder, World.single())
    write_models(case, folder)
    return folder


# --- The package ---------------------------------------------------------------------------


def test_importing_it_imports_nothing_heavy():
    code = "import eddyscope, sys; eddyscope.__version__; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {"torch", "mpi4py", "numpy", "xarray", "pydantic"} & set(ended.stdout.split())
    assert not heavy


def test_every_public_name_is_there_and_explained():
    for name in eddyscope.__all__:
        assert getattr(eddyscope, name).__doc__, name
    assert set(eddyscope.__all__) == set(eddyscope.HOMES)
    assert {"__version__", *eddyscope.__all__} <= set(dir(eddyscope))
    with pytest.raises(AttributeError, match="no attribute 'subgird'"):
        eddyscope.subgird  # noqa: B018


def test_the_version_is_that_of_the_citation_and_of_the_project():
    root = Path(__file__).parents[2]
    stated = f"version: {eddyscope.__version__}"
    assert stated in (root / "CITATION.cff").read_text().splitlines()
    assert f'version = "{eddyscope.__version__}"' in (root / "pyproject.toml").read_text()


def test_a_case_is_loaded(made):
    case = eddyscope.load_case(str(made / "synthetic.toml"), ["grid.n=64"])
    assert (case.grid.n, case.name) == (64, "synthetic")


# --- Π of arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["decaying_re5k_n128", "forced_re20k_kf4_n128"])
def test_subgrid_agrees_with_independent_solutions(reference_solutions, name):
    stored = np.load(reference_solutions / f"{name}.npz")
    facts = json.loads((reference_solutions / f"{name}.json").read_text())
    psi, omega, pi = eddyscope.subgrid(stored["omega_final"], n=facts["n_coarse"])
    assert relative(psi, stored["psi_filtered"]) < 1e-10
    assert relative(omega, stored["omega_filtered"]) < 1e-10
    assert relative(pi, stored["pi"]) < 1e-10


def test_subgrid_of_many_fields_is_that_of_each():
    run = eddyscope.Solver(FLOW, n=32, members=3)
    omega = run.omega  # (member, layer, y, x)
    whole = eddyscope.subgrid(omega, n=16, filter="box", width=1.5)
    assert whole.pi.shape == (3, 1, 16, 16)
    for member in range(3):
        alone = eddyscope.subgrid(omega[member, 0], n=16, filter={"kind": "box"}, width=1.5)
        assert all(np.array_equal(a, b[member, 0]) for a, b in zip(alone, whole, strict=True))


def nan_in(omega: np.ndarray) -> np.ndarray:
    omega[0, 0] = np.nan
    return omega


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda w: w[:, :30], {}, r"shape \(32, 30\)"),
        (lambda w: w[:31, :31], {}, r"shape \(31, 31\)"),
        (lambda w: w[0], {}, r"shape \(32,\)"),
        (lambda w: w + 1j, {}, "complex128"),
        (nan_in, {}, "1 values that are not finite"),
        (lambda w: w + 3.0, {}, "has a mean of 3"),
        (lambda w: w, {"n": 64}, "from 4 to the 32 points"),
        (lambda w: w, {"n": 15}, "^n = 15: give an even"),
        (lambda w: w, {"n": "16"}, "^n = '16': give an even whole number"),
        (lambda w: w, {"filter": "gausian"}, "did you mean gaussian"),
        (lambda w: w, {"width": -1.0}, "^width = -1.0"),
        (lambda w: w, {"filter": None}, "filter = None: must be a table"),
        (lambda w: w, {"filter": {"kind": "box", "width": 3.0}}, "filter names width"),
        (lambda w: w * 1e200, {}, "would overflow"),
        (lambda w: np.ma.masked_greater(w, 0.5), {}, "values that are masked"),
        (lambda w: [[1.0], [1.0, 2.0]], {}, "omega: no array of numbers"),
    ],
)
def test_subgrid_refuses_in_one_line(change, options, words):
    omega = change(eddyscope.Solver(FLOW, n=32).omega[0, 0])
    with pytest.raises(eddyscope.CaseError, match=words) as caught:
        eddyscope.subgrid(omega, **{"n": 16, **options})
    assert "\n" not in str(caught.value)


# --- Solver --------------------------------------------------------------------------------


def test_the_solver_agrees_with_an_independent_solution(reference_solutions):
    name = "forced_re20k_kf4_n128"
    stored = np.load(reference_solutions / f"{name}.npz")
    facts = json.loads((reference_solutions / f"{name}.json").read_text())
    forcing = {"kind": "deterministic", "wavenumber": 4}
    flow = {"kind": "navier_stokes", "drag": facts["drag"], "forcing": forcing}
    run = eddyscope.Solver(
        {**flow, "reynolds": float(facts["reynolds"])},
        n=facts["n"],
        dt=facts["dt"],
        scheme="ab2cn",
        omega=stored["omega_initial"],
    )
    run.advance(facts["t"])
    assert run.time == pytest.approx(facts["t"])
    assert run.steps == facts["steps"]
    assert relative(run.omega[0, 0], stored["omega_final"]) < 1e-10


@pytest.mark.parametrize("pace", [{"dt": 0.01}, {"cfl": 0.4}, {}])
def test_the_solver_may_pause(pace):
    """A pause is a mark: with a fixed step it changes no bit, with cfl only the steps' lengths."""
    once, twice = (eddyscope.Solver(FLOW, n=16, members=2, seed=3, **pace) for _ in range(2))
    once.advance(0.2)
    twice.advance(0.15)
    twice.advance(0.05)
    assert once.time == pytest.approx(twice.time) == pytest.approx(0.2)
    assert relative(twice.omega, once.omega) < (1e-14 if "dt" in pace else 1e-4)
    assert once.energy.shape == once.enstrophy.shape == (2,)


def test_random_forcing_follows_the_seed_and_the_member():
    forcing = {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.5}
    first, again, other = (
        eddyscope.Solver({**FLOW, "forcing": forcing}, n=16, members=2, seed=seed, dt=0.01)
        for seed in (1, 1, 2)
    )
    for run in (first, again, other):
        run.advance(0.05)
    assert np.array_equal(first.omega, again.omega)
    assert relative(first.omega[0], first.omega[1]) > 0.5
    assert relative(first.omega, other.omega) > 0.5


@pytest.mark.parametrize("transform", ["mpi4py_fft", {"kind": "torch", "device": "cpu"}])
def test_other_transforms_give_the_same_to_rounding(transform):
    first, other = (
        eddyscope.Solver(FLOW, n=16, members=2, dt=0.01, transform=kind, closure=closure_of_drag)
        for kind in ("fftw", transform)
    )
    for run in (first, other):
        run.advance(0.1)
    assert relative(other.omega, first.omega) < 1e-12
    assert relative(other.energy, first.energy) < 1e-12


def closure_of_drag(psi: np.ndarray, omega: np.ndarray) -> np.ndarray:
    return -0.5 * omega


def test_single_precision_gives_arrays_in_double():
    double, single = (
        eddyscope.Solver(FLOW, n=16, dt=0.01, precision=precision)
        for precision in ("float64", "float32")
    )
    for run in (double, single):
        run.advance(0.1)
        assert run.omega.dtype == run.psi.dtype == run.energy.dtype == np.float64
    assert 1e-9 < relative(single.omega, double.omega) < 1e-5


def test_a_closure_is_a_function_of_psi_and_omega():
    """Π = −c ω is a drag of rate c."""
    with_closure = eddyscope.Solver(FLOW, n=16, dt=0.005, closure=closure_of_drag)
    with_drag = eddyscope.Solver({**FLOW, "drag": 0.6}, n=16, dt=0.005)
    for run in (with_closure, with_drag):
        run.advance(0.5)
    assert relative(with_closure.omega, with_drag.omega) < 1e-6
    laplacian = -np.fft.ifft2(np.fft.fft2(with_drag.psi) * _k2(16)).real
    assert relative(-laplacian, with_drag.omega) < 1e-12


def _k2(n: int) -> np.ndarray:
    k = np.fft.fftfreq(n, 1.0 / n)
    squares: np.ndarray = k[:, None] ** 2 + k[None, :] ** 2
    return squares


def test_a_model_is_a_closure_of_the_solver(made):
    model = eddyscope.load_model(made / "models/base.safetensors")
    run = eddyscope.Solver(FLOW, n=16, members=2, dt=0.01, closure=model.predict)
    run.advance(0.02)
    assert np.isfinite(run.omega).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 15}, "^n = 15.*use 14 or 16"),
        ({"dt": 0.1, "cfl": 0.5}, "^dt, cfl: give either dt"),
        ({"dt": -0.1}, "^dt = -0.1"),
        ({"cfl": "fast"}, "^cfl = 'fast'"),
        ({"precision": "half"}, "^precision = 'half'"),
        ({"members": 0}, "members = 0"),
        ({"scheme": "rk4"}, "^scheme = 'rk4'"),
        ({"flow": "navier_stokes"}, "flow.reynolds is missing"),
        ({"flow": {**FLOW, "forcing": {"kind": "deterministic", "wavenumber": 9}}}, "not resolved"),
        ({"omega": np.zeros((3, 16, 16))}, r"give \(y, x\), .* with 2 members"),
        ({"omega": np.ones((16, 16))}, "has a mean of 1"),
        ({"seed": -1}, "seed = -1"),
        ({"flow": {"kind": "navierstokes"}}, "flow.kind = 'navierstokes'.*did you mean"),
        ({"closure": "smagorinsky"}, "closure = 'smagorinsky': give a function"),
    ],
)
def test_the_solver_refuses_in_one_line(options, words):
    with pytest.raises(eddyscope.CaseError, match=words) as caught:
        eddyscope.Solver(**{"flow": FLOW, "n": 16, "members": 2, **options})
    assert "\n" not in str(caught.value)


def test_what_a_run_cannot_do_is_told():
    run = eddyscope.Solver(FLOW, n=16, dt=0.01)
    with pytest.raises(eddyscope.CaseError, match=r"not a whole number of steps of dt = 0\.01"):
        run.advance(0.015)
    with pytest.raises(eddyscope.CaseError, match="leads on from"):
        run.advance(-1.0)
    for wrong in ("1", None, True, 1j, [1.0, 2.0]):
        with pytest.raises(eddyscope.CaseError, match=r"^duration = .*: give one real number"):
            run.advance(wrong)
    assert run.time == 0.0
    shapeless = eddyscope.Solver(FLOW, n=16, dt=0.01, closure=lambda psi, omega: omega[0])
    with pytest.raises(eddyscope.CaseError, match=r"shape \(1, 16, 16\)"):
        shapeless.advance(0.01)
    wild = eddyscope.Solver(FLOW, n=16, dt=0.01, closure=lambda psi, omega: 1e6 * omega)
    with pytest.raises(eddyscope.BlewUp, match="not finite at t = "):
        wild.advance(10.0)


@pytest.mark.parametrize("name", ["open_dataset", "load_model", "load_case"])
def test_what_is_no_name_of_a_file_is_refused(name):
    for wrong in (5, None):
        with pytest.raises(eddyscope.CaseError, match=f"^path = {wrong}: give the name of a file"):
            getattr(eddyscope, name)(wrong)


def test_overrides_are_a_list_of_texts(made):
    for wrong in ("grid.n=64", 3, [3]):
        with pytest.raises(eddyscope.CaseError, match=r"^overrides = .*: give a list of texts"):
            eddyscope.load_case(made / "synthetic.toml", wrong)


# --- Artefacts -----------------------------------------------------------------------------


def test_a_dataset_opens_as_xarray_has_it(made):
    path = made / "target/dataset.h5"
    data = eddyscope.open_dataset(path)
    stored = Dataset(path)  # while it is open
    assert np.array_equal(data["n016"].pi, stored.read(16, "pi")[:, :, 0])
    assert data.attrs["system"] == "target"
    with xr.open_dataset(made / "base/dataset.h5", group="n016") as opened:
        Dataset(made / "base/dataset.h5")  # while xarray itself has it open
        assert opened.pi.dims == ("member", "sample", "y", "x")


def test_a_damaged_dataset_is_refused(made, tmp_path):
    path = tmp_path / "dataset.h5"
    content = (made / "base/dataset.h5").read_bytes()
    stored = Dataset(made / "base/dataset.h5").read(16, "pi").tobytes()[:64]
    at = content.index(stored)
    path.write_bytes(content[:at] + b"\x7f" + content[at + 1 :])
    with pytest.raises(eddyscope.CaseError, match="1 samples are damaged, the first is grid 16"):
        eddyscope.open_dataset(path)
    assert "n016" in eddyscope.open_dataset(path, verify=False)


def test_a_state_of_another_program_is_refused_with_the_way_to_use_it(tmp_path):
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(nn.Conv2d(2, 1, 3).state_dict(), path)
    with pytest.raises(eddyscope.CaseError, match=r"safetensors of another.*own_network"):
        eddyscope.load_model(path)


def test_a_model_computes_as_the_program_does(made):
    path = made / "models/transfer/l02.safetensors"
    model, stored = eddyscope.load_model(path), load_model(path)
    assert (model.name, model.inputs, model.outputs) == ("l02", ("psi", "omega"), ("pi",))
    assert list(model.layers) == ["l01", "l02", "l03"]
    data = Dataset(made / "target/dataset.h5")
    psi, omega = (data.read(16, name, [3])[0] for name in ("psi", "omega"))
    expected = predict(stored.network, stored.normalisation, {"psi": psi, "omega": omega})
    assert np.array_equal(model.predict(psi, omega), expected)
    assert relative(model.predict(psi[0, 0], omega[0, 0]), expected[0, 0]) < 1e-5
    fields = torch.from_numpy(np.concatenate([psi, omega], axis=1))
    assert relative(model(fields).detach().numpy(), expected) < 1e-5
    with pytest.raises(eddyscope.CaseError, match="on 16 x 16 points"):
        model.predict(np.zeros((8, 8)), np.zeros((8, 8)))
    with pytest.raises(eddyscope.CaseError, match="psi is of type <U1; give real numbers"):
        model.predict("a", omega)
    for wrong in (fields.numpy(), fields[:, :1], fields[0]):
        with pytest.raises(eddyscope.CaseError, match=r"give a torch tensor .* psi, omega"):
            model(wrong)
    model.outputs = ("u", "v")
    with pytest.raises(eddyscope.CaseError, match="gives u, v, not pi of 1 layers"):
        model.predict(psi, omega)


# --- Any torch module ----------------------------------------------------------------------


def test_kernel_spectra_of_any_module():
    module = Awkward()
    spectra = eddyscope.kernel_spectra(module, n=32)
    assert list(spectra) == ["spare", "last", "first", "down", "mix", "again", "up"]
    weights = module.first.weight.detach().numpy()
    response = np.abs(frequency_response(weights, 32))
    mean = np.sqrt(np.mean(response[..., 0, 0] ** 2))
    found = spectra["first"].amplification
    assert found.shape[:2] == (4, 2)
    assert np.sqrt(np.mean(found.sel(wavenumber=0) ** 2)) == pytest.approx(mean, rel=1e-5)
    with pytest.raises(eddyscope.CaseError, match="Linear has no convolution"):
        eddyscope.kernel_spectra(nn.Linear(2, 2))


def test_activation_spectra_of_any_module():
    module, inputs = Awkward().eval(), torch.randn(3, 2, 16, 16)
    spectra = eddyscope.activation_spectra(module, None, inputs)
    assert list(spectra.layer.values) == ["first", "down", "mix", "mix", "up", "last"]
    h = module.first(inputs).detach()
    assert float(spectra.h.sel(layer="first").sum()) == pytest.approx(float(h.square().mean()))
    alone = eddyscope.activation_spectra(module, ["first"], inputs.numpy())
    assert np.allclose(alone.h.sel(layer="first"), spectra.h.sel(layer="first"))


def test_advice_on_any_module():
    """Where one layer was changed, re-training that layer can undo it."""
    torch.manual_seed(0)
    module, inputs = Awkward(), torch.randn(4, 2, 16, 16)
    wanted = Awkward()
    wanted.load_state_dict(module.state_dict())
    with torch.no_grad():
        wanted.first.weight += 0.05 * torch.randn(wanted.first.weight.shape)
    targets = wanted.eval()(inputs).detach()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    advice = eddyscope.advise(module, None, inputs, targets)
    assert list(advice.values) == ["first", "down", "mix", "up", "last"]
    assert advice.left_out == {"spare": "a forward pass never calls it"}
    assert advice.ranking[0] == "first"
    assert advice.values["first"] == max(advice.values.values()) > 0.5
    assert "first" in advice.reason
    frozen = eddyscope.advise(module.requires_grad_(False), ["first"], inputs, targets)
    assert frozen.values == {"first": pytest.approx(advice.values["first"])}
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    chosen = eddyscope.advise(module, ["last", "down"], inputs, targets, score="relative_gradient")
    assert list(chosen.values) == ["down", "last"]


def test_a_module_that_is_worse_than_nothing_is_called_that():
    """What inputs it was trained on no one knows, but how far off it is can be measured."""
    torch.manual_seed(0)
    module, inputs = Awkward().eval(), torch.randn(4, 2, 16, 16)
    with torch.no_grad():
        targets = module(inputs) * 1.5
    near = eddyscope.advise(module, None, inputs, targets).reason
    assert "scaled" not in near
    far = eddyscope.advise(module, None, 100.0 * inputs, targets).reason
    assert "times that of predicting nothing" in far and "(their std is 98)" in far


def test_samples_are_taken_however_they_lie_in_memory():
    torch.manual_seed(0)
    module, rng = Awkward(), np.random.default_rng(2)
    inputs, targets = rng.standard_normal((4, 2, 16, 16)), rng.standard_normal((4, 1, 16, 16))
    expected = eddyscope.advise(module, None, inputs, targets).values
    assert max(expected.values()) > 0.0

    def found(inputs: object, targets: object) -> dict[str, float]:
        return eddyscope.advise(module, None, inputs, targets).values

    assert found(inputs.astype(">f8"), np.asfortranarray(targets)) == expected
    assert found(inputs[..., ::-1].copy()[..., ::-1], targets.tolist()) == expected
    assert found(torch.tensor(inputs, requires_grad=True), targets) == expected
    with torch.inference_mode():
        assert found(torch.tensor(inputs), torch.tensor(targets)) == expected
    with torch.no_grad():
        assert found(inputs, targets) == expected


def test_layers_that_give_no_fields_have_no_spectra():
    inputs = torch.randn(3, 2, 16, 16)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(512, 4))
    assert np.isnan(eddyscope.activation_spectra(flat, None, inputs).h).all()
    pooled = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(2, 1, 3))
    spectra = eddyscope.activation_spectra(pooled, None, inputs)
    assert spectra.sizes["wavenumber"] == 12, "those of the inputs too"


class Wavering(nn.Module):
    """Calls its layer as often as its input says."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        once = self.layer(x)
        return self.layer(once) if bool(x.mean() > 0) else once


@pytest.mark.parametrize("signs", [[1, 1, -3, -3], [-1, 2]])
def test_layers_that_not_all_samples_meet_alike_have_no_spectra(signs):
    inputs = torch.ones(len(signs), 1, 8, 8) * torch.tensor(signs)[:, None, None, None]
    with pytest.raises(eddyscope.CaseError, match="calls its layers more or less often"):
        eddyscope.activation_spectra(Wavering(), None, inputs)


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        (nn.Conv2d, {}, "of type class Conv2d; give a torch.nn.Module"),
        (nn.Conv2d(1, 1, 3), {"n": 16.5}, r"n = 16\.5"),
        (nn.Conv2d(1, 1, 3), {"n": True}, "n = True"),
        (nn.Conv3d(1, 1, 3), {"n": 10**4}, "give a smaller n"),
        (nn.Conv2d(1, 1, 3, dtype=torch.complex64), {}, "not finite real numbers"),
        (nn.Sequential(nn.LazyConv2d(1, 3)), {}, "layer '0' has no weights yet"),
    ],
)
def test_kernel_spectra_refuse_in_one_line(module, options, words):
    with pytest.raises(eddyscope.CaseError, match=words):
        eddyscope.kernel_spectra(module, **options)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_kernels_of_any_dimensions_amplify_waves_as_the_layer_does(dims, transposed):
    """What the layer makes of a point is its kernel, whose transform is what it amplifies."""
    kind = getattr(nn, f"Conv{'Transpose' * transposed}{dims}d")
    torch.manual_seed(dims)
    n, middle = 12, (6,) * dims
    layer = kind(4, 6, 3, padding=2, dilation=2, groups=2, bias=False).double()
    found = eddyscope.kernel_spectra(nn.Sequential(layer), n=n)["0"]
    k = np.fft.fftfreq(n, 1.0 / n)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[k] * dims, indexing="ij")))
    for given in range(4):
        point = torch.zeros(1, 4, *(n,) * dims, dtype=torch.float64)
        point[(0, given, *middle)] = 1.0
        made = np.abs(np.fft.fftn(layer(point)[0].detach().numpy(), axes=range(1, 1 + dims)))
        for out in range(6):
            if out // 3 != given // 2:  # of another group
                assert not made[out].any()
                continue
            for shell in (0, 1, 5):
                inside = np.ceil(radius - 0.5) == shell
                expected = np.sqrt(np.mean(made[out][inside] ** 2))
                here = found.amplification[out, given % 2, shell]
                assert float(here) == pytest.approx(expected, rel=1e-5)
            power = made[out] ** 2
            centroid = float((power * radius).sum() / power.sum() / (n / 2))
            assert float(found.centroid[out, given % 2]) == pytest.approx(centroid, rel=1e-5)
    assert ("kind" in found) == ("anisotropy" in found) == (dims == 2)


def test_kernels_in_half_precision_have_spectra():
    module = nn.Sequential(nn.Conv2d(1, 2, 3)).bfloat16()
    whole = eddyscope.kernel_spectra(copy.deepcopy(module).float())["0"]
    assert eddyscope.kernel_spectra(module)["0"].identical(whole)


def test_fields_that_are_not_square_are_advised_on_but_have_no_spectra():
    inputs, targets = torch.randn(3, 2, 16, 24), torch.randn(3, 1, 16, 24)
    advice = eddyscope.advise(Awkward(), None, inputs, targets)
    assert sorted(advice.ranking) == ["down", "first", "last", "mix", "up"]
    with pytest.raises(eddyscope.CaseError, match="as many points along y as along x"):
        eddyscope.activation_spectra(Awkward(), None, inputs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": ["lats"]}, "layers names 'lats', .* did you mean last"),
        ({"layers": ["spare"]}, "layers names 'spare', which a forward pass never calls"),
        ({"layers": ["drop"]}, "layers names 'drop', which has no weights"),
        ({"layers": ["mix", "again"]}, "share weights"),
        ({"module": nn.Tanh(), "inputs": torch.randn(4, 1, 16, 16)}, "Tanh meets no convolution"),
        ({"inputs": torch.randn(4, 3, 16, 16)}, "Awkward cannot take inputs"),
        ({"inputs": torch.randn(2, 16, 16)}, r"inputs have shape \(2, 16, 16\)"),
        ({"inputs": torch.full((4, 2, 16, 16), torch.nan)}, "inputs have values that are not"),
        ({"targets": torch.randn(4, 1, 8, 8)}, r"targets have shape \(4, 1, 8, 8\), but of 4"),
        ({"layers": "first"}, "layers = 'first': give a list"),
        ({"module": nn.Tanh}, "of type class Tanh; give a torch.nn.Module"),
        ({"module": torch.tanh}, "of type builtin_function_or_method; give a torch.nn.Module"),
        ({"inputs": torch.ones(4, 2, 16, 16) * 1j}, "inputs is of type complex64"),
        ({"layers": 3}, "layers = 3: give a list"),
        ({"score": None}, "^score = None"),
        ({"score": {}}, "^score.kind is missing"),
        ({"score": "linear"}, "^score = 'linear'.*did you mean"),
        ({"score": {"kind": "linearised_gain", "iterations": 0}}, "^score.iterations = 0"),
    ],
)
def test_advice_refuses_in_one_line(options, words):
    given = {"inputs": torch.randn(4, 2, 16, 16), "targets": torch.randn(4, 1, 16, 16)}
    with pytest.raises(eddyscope.CaseError, match=words) as caught:
        eddyscope.advise(**{"module": Awkward(), "layers": None, **given, **options})
    assert "\n" not in str(caught.value)
