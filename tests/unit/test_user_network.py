"""A network in a user's own file: what is found in it, what is refused, what is kept of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eddyscope.advisor.jacobian import LayerJacobian
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Task
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import Samples
from eddyscope.learning.models import Model, changed_layers, load_model, save_model
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.retrain import Retraining
from eddyscope.learning.trainer import train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS, build, layer_names, redrawn
from eddyscope.networks.state import state_of
from eddyscope.parallel.world import World
from eddyscope.stages.job import Job
from eddyscope.stages.train import STAGE as train_stage
from small_networks import AWKWARD, ONE
from synthetic import make_case, write_datasets
from synthetic_models import record_of

N = 16

HEAD = "import torch\nfrom torch import nn\n"


def settings_of(path: Path = AWKWARD, name: str = "Awkward", **others: object):
    return NETWORKS.settings("user", path=str(path), **{"class": name}, **others)


def made(path: Path = AWKWARD, name: str = "Awkward", **others: object) -> LayeredModel:
    return build(settings_of(path, name, **others), ONE, (1,), N)


def fields(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 2, N, N, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my_net.py"


def write(file: Path, *lines: str, init: str = "self.c = nn.Conv2d(2, 1, 1)") -> Path:
    """A file with a class Net whose forward has these lines."""
    body = "".join(f"        {line}\n" for line in lines or ("return self.c(x)",))
    file.write_text(
        f"{HEAD}class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        {init}\n    def forward(self, x):\n{body}"
    )
    return file


def refused(call, *words: str) -> None:
    with pytest.raises(CaseError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


# --- Layers --------------------------------------------------------------------------------


def test_layers_are_found_in_the_order_of_a_pass():
    model = made()
    paths = {"l01": "first", "l02": "down", "l03": "mix", "l04": "up", "l05": "last"}
    assert model.paths == paths
    assert model.left_out == {"spare": "a forward pass never calls it"}
    assert "spare is no layer of the network: a forward pass never calls it" in model.notes
    assert [call.name for call in model.recorded(fields())].count("l03") == 2, "used twice"
    assert set(model.parameters_of("l03")) == {"mix.weight", "mix.bias", "again.bias"}


@pytest.mark.parametrize(
    ("layers", "paths"),
    [
        (["norm", "first"], {"l01": "norm", "l02": "first"}),
        ({"l07": "up", "l02": "first"}, {"l07": "up", "l02": "first"}),
    ],
)
def test_layers_are_named(layers: object, paths: dict[str, str]):
    assert made(layers=layers).paths == paths
    assert layer_names(settings_of(layers=layers), ONE, N) == list(paths)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["frist"], "names 'frist', which is no submodule of the network; did you mean first?"),
        (["drop"], "names 'drop', which has no weights to train"),
        (["mix", "again"], "names 'mix' and 'again', which share weights"),
        (["spare"], "names 'spare', which a forward pass never calls"),
    ],
)
def test_what_is_named_and_is_no_layer(layers: list[str], words: str):
    refused(lambda: made(layers=layers), words)


def test_weights_that_the_network_keeps_fixed_are_no_layer(file: Path):
    lines = ("return self.c(self.d(x))",)
    start = "self.c = nn.Conv2d(2, 1, 1); self.d = nn.Conv2d(2, 2, 1).requires_grad_(False)"
    model = made(write(file, *lines, init=start), "Net")
    assert model.paths == {"l01": "c"}
    assert model.left_out == {"d": "the network keeps its weights fixed"}
    everything = ADAPTATIONS.build(ADAPTATIONS.settings("all")).module(model, (1,))
    assert not everything.get_submodule("d").weight.requires_grad


def test_a_network_without_convolutions():
    model = made(name="Other")
    assert model.paths == {"l01": "dense"}
    assert model(fields()).shape == (3, 1, N, N)


def test_samples_stay_as_they_are(file: Path):
    lines = "x -= x.mean(dim=(2, 3), keepdim=True)", "h = self.c(x)", "h += 1", "return h"
    model, x = made(write(file, *lines), "Net"), fields()
    before = x.clone()
    found = [model(x), model(x), model.copy()(x), model.recorded(x)[0].output + 1]
    assert torch.equal(x, before) and all(torch.equal(y, found[0]) for y in found)
    train_alone(model.module)
    jacobian = LayerJacobian(model, "l01", x)
    torch.testing.assert_close(jacobian.output, model(x))
    assert torch.equal(x, before)


# --- What is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Net(nn.Module:\n", ["my_net.py, line 3: cannot be imported (SyntaxError"]),
        ("import nothing_like_it\n", ["line 3: cannot be imported (ModuleNotFoundError"]),
        ("raise SystemExit(3)\n", ["line 3: cannot be imported (SystemExit: 3)"]),
        ("class Nett(nn.Module): pass\n", ["no torch.nn.Module there", "did you mean Nett?"]),
        ("class Net: pass\n", ["network.class = 'Net' is no torch.nn.Module there; it defines no"]),
    ],
)
def test_files_that_cannot_be_used(file: Path, text: str, words: list[str]):
    file.write_text(HEAD + text)
    refused(lambda: made(file, "Net"), *words)


@pytest.mark.parametrize(
    "line", ["torch.set_grad_enabled(False)", "torch.set_default_dtype(torch.float64)"]
)
def test_what_a_file_sets_for_all_of_torch_is_set_back(file: Path, line: str):
    start = torch.is_grad_enabled(), torch.get_default_dtype()
    source = write(file, "return self.c(x)", init="self.c = nn.Conv2d(2, 1, 1)")
    source.write_text(source.read_text() + f"\n{line}\n")
    try:
        network = made(source, "Net").module
        assert (torch.is_grad_enabled(), torch.get_default_dtype()) == start
        assert all(p.dtype == torch.float32 for p in network.parameters())
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)


def test_a_class_that_cannot_be_made():
    refused(lambda: made(settings={"widht": 3}), "cannot be made with {'widht': 3} (TypeError: ")


@pytest.mark.parametrize(
    ("lines", "start", "words"),
    [
        (["return self.c(x)[:, :, 1:]"], "", "gives a tensor 1 x 1 x 15 x 16 of float32 where a"),
        (["return [self.c(x)]"], "", "gives a list where a real tensor 1 x 1 x 16 x 16 is needed"),
        (["return self.c(x.view(3, -1))"], "", "line 8: Net fails on an input 1 x 2 x 16 x 16"),
        (["return x[:, :1]"], "", "no convolution and no linear layer is met"),
        (["return nn.functional.dropout(self.c(x), 0.5)"], "", "when it is called again"),
        (["self.k += 1", "return self.c(x)"],
         "self.c = nn.Conv2d(2, 1, 1); self.register_buffer('k', torch.zeros(()))",
         "changes its buffer k when it is not in training"),
        (["return self.c(x)[:1]"], "", "of float32 where a real tensor 2 x 1"),
        (["assert len(x) == 1", "return self.c(x)"], "", "fails in training on inputs 2 x 2 x 16"),
        (["return [self.c(x)] if self.training else self.c(x)"], "", "in training gives a list"),
        (["return self.c(x) * 1j"], "", "gives a tensor 1 x 1 x 16 x 16 of complex64"),
        ([], "import threading; self.c = nn.Conv2d(2, 1, 1); self.z = threading.Lock()",
         "Net cannot be copied"),
        ([], "self.c = nn.Conv2d(2, 1, 1).double()", "fails on an input"),
        ([], "self.c = nn.Conv2d(2, 1, 1); self.z = nn.Parameter(torch.ones(2) * 1j)",
         "z is complex64, but models hold float32"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit(file: Path, lines: list[str], start: str, words: str):
    init = start or "self.c = nn.Conv2d(2, 1, 1)"
    refused(lambda: made(write(file, *lines, init=init), "Net"), words)


def test_a_case_names_a_file_beside_itself(tmp_path: Path, file: Path):
    write(file)
    network = "network={kind = 'user', path = 'my_net.py', class = 'Net'}"
    case = make_case(tmp_path, network)
    assert case.network.path == str(file) and len(case.network.source) == 64
    assert case.layer_names == ["l01"]
    refused(lambda: make_case(tmp_path, network.replace("my_net", "no_net")),
            "no_net.py: no such Python file; it is relative to the case file")  # fmt: skip
    refused(lambda: make_case(tmp_path, network[:-1] + ", weights = 'w.safetensors'}"),
            "w.safetensors: no such safetensors file; it is relative to the case file")  # fmt: skip
    refused(lambda: make_case(tmp_path, network, "transfer.layers=['l02']"), "no layer 'l02'")
    refused(lambda: make_case(tmp_path, "network={kind = 'user', path = 'my_net.py'}"),
            "network.class is missing")  # fmt: skip
    refused(lambda: make_case(tmp_path, network[:-1] + ", layers = {first = 'c'}}"),
            "'first' is no name of a layer; call them l01, l02")  # fmt: skip


def test_the_source_decides_the_result_and_its_place_does_not(tmp_path: Path, file: Path):
    from eddyscope.config.identity import deciding

    moved = tmp_path / "elsewhere" / "other.py"
    moved.parent.mkdir()
    moved.write_text(write(file).read_text())
    assert deciding(settings_of(file, "Net")) == deciding(settings_of(moved, "Net"))
    moved.write_text(moved.read_text() + "# changed\n")
    assert deciding(settings_of(file, "Net")) != deciding(settings_of(moved, "Net"))


def with_siblings(folder: Path, factor: float) -> Path:
    """A network whose file imports another beside it, which imports a third."""
    folder.mkdir(exist_ok=True)
    (folder / "numbers_of_mine.py").write_text(f"FACTOR = {factor}\n")
    (folder / "blocks.py").write_text("from numbers_of_mine import FACTOR\n")
    path = write(folder / "my_net.py", "return FACTOR * self.c(x)")
    path.write_text("from blocks import FACTOR\n" + path.read_text())
    return path


def test_a_file_may_import_those_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ones, twos = (with_siblings(tmp_path / str(k), k) for k in (1.0, 2.0))
    known, paths = dict(sys.modules), list(sys.path)
    monkeypatch.chdir(twos.parent)  # which is where it is not to look for what is beside `ones`
    x = fields()
    with torch.no_grad():
        assert torch.equal(2.0 * made(ones, "Net")(x), made(twos, "Net")(x))
    left = [name for name in sys.modules.keys() - known.keys() if "_user_" not in name]
    assert "blocks" not in left and "numbers_of_mine" not in left and sys.path == paths
    assert not list(tmp_path.rglob("*.pyc"))

    settings = settings_of(ones, "Net")
    assert settings.source != settings_of(twos, "Net").source
    with_siblings(ones.parent, 3.0)
    assert settings.source != settings_of(ones, "Net").source
    monkeypatch.delitem(sys.modules, f"eddyscope_user_{settings.source}")
    refused(lambda: build(settings, ONE, (1,), N),
            "my_net.py (with blocks.py, numbers_of_mine.py): not the file that it was")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        ("blocks.py", "def late():\n    import blocks\n", "line 2: imports blocks.py of its own"),
        ("blocks/__init__.py", "import blocks.more\n", "line 1: imports blocks of its own folder"),
        ("random.py", "import random\n", "line 1: imports random.py of its own folder"),
    ],
)
def test_imports_that_are_not_covered(tmp_path: Path, name: str, lines: str, words: str):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    path = write(tmp_path / "my_net.py")
    path.write_text(lines + path.read_text())
    network = "network={kind = 'user', path = 'my_net.py', class = 'Net'}"
    refused(lambda: make_case(tmp_path, network), words, "put what is needed into one file")


# --- Weights -------------------------------------------------------------------------------


def saved(tmp_path: Path, **changes: torch.Tensor | None) -> Path:
    """The state of an awkward network of other weights, some of it changed or left out."""
    state = {
        name: t.detach().clone() for name, t in redrawn(made(), (8,)).module.state_dict().items()
    }
    state["norm.running_mean"] += 0.5
    del state["again.weight"]  # is mix.weight
    named = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    state = {k: t for k, t in {**state, **named}.items() if t is not None}
    save_file(state, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_weights_are_begun_with(tmp_path: Path):
    path = saved(tmp_path)
    model = made(weights=str(path))
    assert torch.equal(model.module.norm.running_mean, torch.full((4,), 0.5))
    assert torch.equal(model.module.again.weight, model.module.mix.weight)
    assert not torch.equal(model.layers["l01"].weight, made().layers["l01"].weight)
    fresh = redrawn(model, (1,))
    assert torch.equal(fresh.layers["l01"].weight, made().layers["l01"].weight), "scratch is random"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"last__bias": None}, "has no 'last.bias'; are the class and its settings"),
        ({"more": torch.ones(1)}, "has 'more', which the network has not"),
        ({"last__bias": torch.ones(2)}, "'last.bias' has shape (2,), but the network needs (1,)"),
        (
            {"last__bias": torch.ones(1).half()},
            "'last.bias' is float16, but the network has",
        ),
        ({"last__bias": torch.tensor([torch.inf])}, "'last.bias' is not finite"),
        ({"again__weight": torch.ones(4, 4, 1, 1)}, "are one tensor in the network, but differ"),
    ],
)
def test_weights_that_are_not_the_networks(tmp_path: Path, changes: dict[str, object], words: str):
    refused(lambda: made(weights=str(saved(tmp_path, **changes))), words)


def test_weights_are_checked_when_the_case_is_read(tmp_path: Path, file: Path):
    file.write_text(AWKWARD.read_text())
    saved(tmp_path, last__bias=torch.ones(2))
    table = "kind = 'user', path = 'my_net.py', class = 'Awkward', weights = 'w.safetensors'"
    refused(lambda: make_case(tmp_path, f"network={{{table}}}"), "w.safetensors: 'last.bias' has")
    saved(tmp_path)
    assert len(make_case(tmp_path, f"network={{{table}}}").layer_names) == 5


def test_weights_of_ones_own_may_be_the_base_model(tmp_path: Path, file: Path):
    file.write_text(AWKWARD.read_text())
    saved(tmp_path)
    table = "kind = 'user', path = 'my_net.py', class = 'Awkward'"
    none = "training.epochs=0"
    refused(lambda: make_case(tmp_path, f"network={{{table}}}", none), "begins with random weights")
    case = make_case(tmp_path, f"network={{{table}, weights = 'w.safetensors'}}", none)
    write_datasets(case, tmp_path / "out", World.single())
    job = Job(case=case, world=World.single(), out=tmp_path / "out")
    assert train_stage.plan(job)
    train_stage.run(job)
    model = load_model(job.base_model, case.network)
    expected = state_of(build(case.network, ONE, (1,), N).module)
    assert all(torch.equal(t, expected[k]) for k, t in state_of(model.network.module).items())
    assert model.record.history.train == [] and model.record.metrics["shift_error"] > 1e-3


def test_weights_saved_from_around_the_network(tmp_path: Path):
    state = {f"module.{k}": t.clone() for k, t in made().module.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    words = "its names begin with 'module.', as those saved from around a network do (Distributed"
    refused(lambda: made(weights=str(tmp_path / "w.safetensors")), words)


def test_nothing_is_unpickled(tmp_path: Path):
    torch.save(made().module.state_dict(), tmp_path / "w.pt")
    refused(lambda: made(weights=str(tmp_path / "w.pt")), "a pickle is not opened, save it as")


# --- Models --------------------------------------------------------------------------------

NORMALISATION = Normalisation(
    name="target",
    system="target",
    samples=3,
    mean=dict.fromkeys(("psi", "omega", "pi"), 0.0),
    std=dict.fromkeys(("psi", "omega", "pi"), 1.0),
)


def samples() -> Samples:
    x = fields()
    return Samples(x, x[:, :1] * x[:, 1:])


def train_alone(module: nn.Module) -> None:
    train(module, samples(), None, Recipe(4, 2, 1e-2, (1,)), World.single(), channels_last=False)


@pytest.mark.parametrize(("batch", "words"), [(2, "a batch of 1 sample(s) (ValueError: "), (3, "")])
def test_a_batch_that_batch_normalisation_cannot_take(file: Path, batch: int, words: str):
    """Statistics of one number a channel are none: three samples in batches of two leave one."""
    start = "self.c = nn.Conv2d(2, 1, 1); self.n = nn.BatchNorm1d(2)"
    model = made(write(file, "return self.c(x + self.n(x.mean((2, 3)))[:, :, None, None])",
                       init=start), "Net")  # fmt: skip
    recipe = Recipe(1, batch, 1e-2, (1,))

    def run() -> None:
        train(model.module, samples(), None, recipe, World.single(), channels_last=False)

    if words:
        refused(run, words, "change batch_size or samples")
    else:
        run()


def trained(model: LayeredModel) -> LayeredModel:
    train_alone(model.module)
    return model


def test_a_model_keeps_all_of_its_state_and_its_source(tmp_path: Path, file: Path):
    file.write_text(AWKWARD.read_text())
    model = trained(made(file))
    assert float(model.module.norm.num_batches_tracked) == 4
    record = record_of("base", model.settings, NORMALISATION)
    save_model(tmp_path / "base.safetensors", Model(model, record))
    found = load_model(tmp_path / "base.safetensors")
    assert found.record.network.source == settings_of(file).source
    assert found.record.layers["l02"] == "down" and "spare" in found.record.left_out
    ours, theirs = state_of(model.module), state_of(found.network.module)
    assert list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert not found.network.module.training and "again.weight" not in ours
    moved = file.rename(tmp_path / "moved.py")
    from_there = load_model(tmp_path / "base.safetensors", settings_of(moved)).network
    assert torch.equal(from_there(fields()), found.network(fields()))
    moved.write_text(moved.read_text() + "\n# another\n")
    refused(lambda: load_model(tmp_path / "base.safetensors", settings_of(moved)),
            "the model has source =", "but the case has network.source")  # fmt: skip


def test_frozen_means_frozen():
    """Batch normalisation and dropout in a layer that is named are at work where it is trained,
    and only there."""
    base = trained(made(layers=["norm", "first"]))
    base.module.eval()
    before = {name: tensor.clone() for name, tensor in state_of(base.module).items()}
    for named, moved in ((["l01"], True), (["l02"], False)):
        adaptation = ADAPTATIONS.build(ADAPTATIONS.settings("layers", layers=named))
        module = adaptation.module(base, (1,))
        assert module.get_submodule("norm").training == moved
        assert not module.get_submodule("drop").training
        after = trained(base.of(module))
        assert changed_layers(base, after) == named
        statistics = after.module.norm.running_mean
        assert torch.equal(statistics, before["norm.running_mean"]) != moved
    assert all(torch.equal(tensor, before[k]) for k, tensor in state_of(base.module).items())


@pytest.mark.parametrize("kind", ["gain", "lora"])
def test_layers_that_are_no_convolutions_are_adapted(kind: str, file: Path):
    """Of a block, `gain` scales what it gives, `lora` all its matrices."""
    start = (
        "self.a = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.GELU()); "
        "self.b = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 1, 1))"
    )
    write(file, "return self.b(self.a(x))", init=start)
    base = build(settings_of(file, "Net", layers=["a", "b"]), ONE, (1,), N)
    base.module.eval()
    adaptation = ADAPTATIONS.build(ADAPTATIONS.settings(kind))
    module = adaptation.module(base, (2,))
    torch.testing.assert_close(module(fields()), base(fields()), msg="it begins at the base model")
    x = fields()
    adaptation.fit(module, Task(samples(), 2, train_alone))
    found = adaptation.folded(module, base)
    found.module.eval()
    torch.testing.assert_close(found(x), module(x))
    assert changed_layers(base, found) == ["l01", "l02"]


def test_messages_call_layers_as_their_user_does():
    """l02 alone says nothing to who wrote the module; of our networks no one knows the names."""
    own, ours = made(), build(NETWORKS.settings("cnn", depth=2, width=2), ONE, (1,), N)
    assert own.own_paths["l02"] == "down"
    assert ours.own_paths == {}

    def called(network: LayeredModel, text: str) -> str:
        ones = dict.fromkeys(ONE.names, 1.0)
        statistics = Normalisation(name="base", system="base", samples=1, mean=ones, std=ones)
        base = Model(network, record_of("base", network.settings, statistics))
        retraining = Retraining(base, *[None] * 8)  # of these it needs none
        return retraining._called(ModelKey.parse(text))

    assert called(own, "l02") == "l02 (down)"
    assert called(own, "l01+l02,seed=1") == "l01+l02,seed=1 (first+down)"
    assert called(own, "gain") == "gain"
    assert called(ours, "l02") == "l02"
