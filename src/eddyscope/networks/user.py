"""A user's own network: a class of theirs, in a file of theirs.

    [network]
    kind = "user"
    path = "my_net.py"                # relative to the case file
    class = "Net"
    settings = {width = 32}           # Net(width=32)
    weights = "w.safetensors"         # to begin with; without it the class's own random ones

`Net` is a torch.nn.Module that maps normalised fields (sample, input channel, y, x) to
(sample, output channel, y, x) on the same grid. The file is run, as a script would be, on every
rank, with its folder on the import path wherever the program is started; nothing is unpickled. Its
SHA-256 is part of what decides a result, and is kept with every model, which can be used with that
file alone. It covers the files of that folder that the file imports at its top, and those that
these import; other modules it does not cover.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AliasChoices,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from eddyscope.config import provenance
from eddyscope.config.errors import CaseError, did_you_mean, one_line
from eddyscope.config.files import FileName, read_file, require_file
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.streams import integer_seed
from eddyscope.networks.parts import Parts
from eddyscope.networks.settings import LAYER, Channels, NetworkSettings, numbered

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["User"]

T = TypeVar("T")

LARGEST_SOURCE = 2**24
"""Bytes of a network's file."""

DIGESTS = {"path": "source", "weights": "weights_source"}
"""File that the settings name -> the field that holds its SHA-256."""


class User:
    """A class that a user's file defines."""

    class Settings(NetworkSettings):
        """`[network]` of kind "user": a torch module of your own."""

        of_user: ClassVar[bool] = True

        kind: Literal["user"] = "user"
        path: Annotated[FileName, CHANGES_NO_RESULT]
        """Python file that defines it, relative to the case file."""
        class_name: str = Field(validation_alias=AliasChoices("class", "class_name"))
        """`class`: its class, a torch.nn.Module."""
        settings: dict[str, JsonValue] = {}
        """Arguments that the class is made with."""
        layers: Literal["found"] | list[str] | dict[str, str] = "found"
        """What can be re-trained alone: by default every convolution, transposed convolution and
        linear layer; or names of submodules, as in ["enc.0", "dec"] or {l01 = "enc.0"}."""
        weights: Annotated[FileName | None, CHANGES_NO_RESULT] = None
        """Safetensors file of its state to begin with, relative to the case file."""
        source: str = ""
        """SHA-256 of the file `path` and of what it imports from its folder; found when the case is
        read."""
        weights_source: str = ""
        """SHA-256 of the file `weights`; found when the case is read."""

        @model_validator(mode="before")
        @classmethod
        def _with_digests(cls, given: Any, info: ValidationInfo) -> Any:
            if not isinstance(given, dict):
                return given
            folder = (info.context or {}).get("folder", "")
            found = dict(given)
            for name, digest in DIGESTS.items():
                if isinstance(given.get(name), str) and not given.get(digest):
                    found[digest] = _digest(Path(os.path.join(folder, given[name])), name)
            return found

        @field_validator("layers")
        @classmethod
        def _named(cls, layers: str | list[str] | dict[str, str]) -> object:
            if not layers:
                raise ValueError("is empty; name submodules, or leave it out")
            for name in layers if isinstance(layers, dict) else ():
                if not LAYER.fullmatch(name):
                    raise ValueError(f"{name!r} is no name of a layer; call them l01, l02, …")
            return layers

        def __hash__(self) -> int:
            return hash(self.model_dump_json())

        def with_random_weights(self) -> Self:
            return self.model_copy(update={"weights": None, "weights_source": ""})

    def __init__(self, settings: Settings):
        self.settings = settings

    def check(self, n: int) -> None:
        """What the network cannot do shows when it is made."""

    def layer_names(self, channels: Channels, n: int | None) -> list[str]:
        # With a key, so that weights that training is to begin with are checked as well.
        return list(self.module(channels, n, ()).layers)

    def module(self, channels: Channels, n: int | None, key: Sequence[int] | None) -> Parts:
        """See `Network.module`. The class draws its own weights, from torch's random numbers."""
        import torch

        from eddyscope.networks.weights import load_weights

        if n is None:
            raise CaseError("network.n is missing: the grid that the network works on")
        net = _class(self.settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(integer_seed("weights", *(key or ())))
            module: nn.Module = self._tried(
                f"cannot be made with {self.settings.settings}",
                lambda: net(**self.settings.settings),
            )
            module.register_forward_pre_hook(_with_an_input_of_its_own)
            x = torch.randn(1, len(channels.inputs), n, n)
            parts = self._tried(f"fails on an input {_shape(x)}", lambda: self._parts(module, x))
            output = self._output(module, x)
            _check_output(self._name, output, x, channels)
            if not x.is_meta:  # where there are numbers
                self._check_again(module, x, output)
                self._check_in_training(module, torch.cat([x, x.flip(-1)]), channels)
        _check_numbers(self._name, module)
        if self.settings.weights is not None and key is not None:
            load_weights(module, Path(self.settings.weights), self.settings.weights_source)
        return parts

    def _parts(self, module: nn.Module, x: Tensor) -> Parts:
        """The module's layers. Raises CaseError, and whatever the module raises."""
        from eddyscope.networks.layers import find_layers, named_layers

        named = self.settings.layers
        if isinstance(named, str):
            found = find_layers(module, x)
            if not found.layers:
                raise CaseError(
                    f"{self._name}: no convolution and no linear layer is met that can be trained; "
                    "name what is to be re-trained in network.layers"
                )
        else:
            in_order = dict(zip(numbered(len(named)), named, strict=True))
            found = named_layers(module, x, named if isinstance(named, dict) else in_order)
        return Parts(module, found.layers, found.left_out, channels_last=False)

    def _output(self, module: nn.Module, x: Tensor) -> object:
        import torch

        from eddyscope.networks.layers import evaluating

        with evaluating(module), torch.no_grad():
            return module(x)

    def _check_again(self, module: nn.Module, x: Tensor, output: object) -> None:
        """Raise CaseError unless it gives the same once more, and keeps its buffers, when it is not
        in training."""
        import torch

        before = {name: tensor.clone() for name, tensor in module.named_buffers()}
        again = self._output(module, x)
        assert isinstance(output, torch.Tensor)
        assert isinstance(again, torch.Tensor)
        if not torch.allclose(output, again, rtol=1e-3, equal_nan=True):
            raise CaseError(
                f"{self._name} gives other numbers for the same input when it is called again; make"
                " what is random in it depend on self.training, as nn.Dropout does, and count no "
                "calls"
            )
        for name, tensor in module.named_buffers():
            if not torch.equal(tensor, before[name]):
                raise CaseError(
                    f"{self._name} changes its buffer {name} when it is not in training; let that "
                    "depend on self.training"
                )

    def _check_in_training(self, module: nn.Module, x: Tensor, channels: Channels) -> None:
        """Raise CaseError unless a copy gives as much in training, of more than one sample."""
        import torch

        copied = self._tried("cannot be copied", lambda: copy.deepcopy(module).train())
        with torch.no_grad():
            output = self._tried(f"fails in training on inputs {_shape(x)}", lambda: copied(x))
        _check_output(f"{self._name} in training", output, x, channels)

    @property
    def _name(self) -> str:
        return f"{self.settings.path}: {self.settings.class_name}"

    def _tried(self, failure: str, call: Callable[[], T]) -> T:
        """What a call into the user's code gives. CaseError if it fails."""
        with _foreign_code(Path(self.settings.path), f"{self.settings.class_name} {failure}"):
            return call()


def _digest(path: Path, name: str) -> str:
    """SHA-256 of a file that a case names. ValueError if there is none."""
    what = "Python file" if name == "path" else "safetensors file"
    try:
        require_file(path, what, "it is relative to the case file")
        return _source(path) if name == "path" else provenance.file_digest(path)
    except CaseError as error:
        raise ValueError(f"{name} = {error!s}") from None


def _source(path: Path) -> str:
    """SHA-256 of a Python file alone, or of its digest and those of the files that it imports from
    its folder, by name. Raises CaseError."""
    own = provenance.file_digest(path)
    beside = _siblings(path)
    lines = [own, *(f"{name} {provenance.file_digest(file)}" for name, file in beside.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if beside else own


def _siblings(path: Path) -> dict[str, Path]:
    """The files beside `path` that it imports, and that these import, in order of their names.
    Raises CaseError for such an import where it cannot be covered."""
    found: dict[str, Path] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        for name, line, on_top in _imports(file):
            beside = path.parent / f"{name}.py"
            if (path.parent / name / "__init__.py").is_file():
                beside = path.parent / name
            elif not beside.is_file():
                continue
            if not on_top or beside.is_dir() or name in sys.stdlib_module_names:
                raise CaseError(
                    f"{file}, line {line}: imports {beside.name} of its own folder, which is "
                    "possible of a single file, at the top, with a name that Python's own modules "
                    "do not have; do so, or put what is needed into one file"
                )
            if name not in found and beside != path:
                found[name] = beside
                waiting.append(beside)
    return dict(sorted(found.items()))


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """First names that a Python file imports, with their lines and whether not in a function."""
    require_file(path, "Python file", largest=LARGEST_SOURCE)
    try:
        tree = ast.parse(read_file(path))
    except (SyntaxError, ValueError):
        return  # which is told when it is run
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    within = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            assert isinstance(node, ast.stmt)
            yield name.partition(".")[0], node.lineno, id(node) not in within


@contextmanager
def _on_import_path(path: Path) -> Iterator[None]:
    """Let a file import those beside it, which no other import meets: two networks may have
    modules of one name."""
    siblings = _siblings(path)
    others = {name: sys.modules.pop(name) for name in siblings if name in sys.modules}
    writes_none = sys.dont_write_bytecode
    sys.path.insert(0, str(path.parent))
    sys.dont_write_bytecode = True  # compiled files tell a change by its second alone
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_none
        sys.path.remove(str(path.parent))
        for name in siblings:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def _class(settings: User.Settings) -> type[nn.Module]:
    """The user's class; its file is run once. Raises CaseError."""
    from torch import nn

    path = Path(settings.path)
    module = _run(path, settings.source)
    found = getattr(module, settings.class_name, None)
    if isinstance(found, type) and issubclass(found, nn.Module):
        return found
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__ == module.__name__
    ]
    hint = did_you_mean(settings.class_name, own)
    raise CaseError(
        f"{path}: network.class = {settings.class_name!r} is no torch.nn.Module there; it defines "
        f"{', '.join(own) or 'none'}" + (f"; {hint}" if hint else "")
    )


def _run(path: Path, source: str) -> types.ModuleType:
    """The module that a Python file of SHA-256 `source` is. Raises CaseError."""
    name = f"eddyscope_user_{source}"
    if name in sys.modules:
        return sys.modules[name]
    require_file(path, "Python file", largest=LARGEST_SOURCE)
    if _source(path) != source:
        beside = ", ".join(file.name for file in _siblings(path).values())
        raise CaseError(
            f"{path}{f' (with {beside})' if beside else ''}: not the file that it was (its SHA-256 "
            f"is no longer {source[:12]}…): put that one back, or train again with --fresh or "
            "--out DIR"
        )
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # where dataclasses and pickles of torch look for it
    try:
        with _foreign_code(path, "cannot be imported"), _on_import_path(path):
            exec(compile(read_file(path), str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _foreign_code(path: Path, failure: str) -> Iterator[None]:
    """Turn what a user's code raises, even an exit, into a CaseError of one line; what it sets for
    the whole of torch is set back."""
    import torch

    grad, precision = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    except (CaseError, KeyboardInterrupt):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
        where = f", line {line}" if line else ""
        words = one_line(error) or "no message"
        raise CaseError(f"{path}{where}: {failure} ({type(error).__name__}: {words})") from None
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(precision)


def _with_an_input_of_its_own(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Samples are used again, whatever a network does with its input in place."""
    return (inputs[0].clone(), *inputs[1:])


def _shape(x: Tensor) -> str:
    return " x ".join(str(length) for length in x.shape)


def _check_output(name: str, output: object, x: Tensor, channels: Channels) -> None:
    """Raise CaseError unless the network gives its output channels on the input's grid."""
    from torch import Tensor

    wanted = (len(x), len(channels.outputs), *x.shape[2:])
    if not isinstance(output, Tensor):
        found = f"a {type(output).__name__}"
    elif tuple(output.shape) != wanted or not output.is_floating_point():
        found = f"a tensor {_shape(output)} of {str(output.dtype).removeprefix('torch.')}"
    else:
        return
    raise CaseError(
        f"{name} gives {found} where a real tensor {' x '.join(map(str, wanted))} is needed for an "
        f"input {_shape(x)}: channels {', '.join(channels.inputs)} -> "
        f"{', '.join(channels.outputs)} on {x.shape[-1]} x {x.shape[-1]} points"
    )


def _check_numbers(name: str, module: nn.Module) -> None:
    """Raise CaseError unless weights are single precision, and buffers are that or whole."""
    import torch

    parameters = {id(parameter) for parameter in module.parameters()}
    for full_name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor):
            raise CaseError(f"{name}: {full_name} is no tensor, so models cannot hold it")
        whole = tensor.dtype in (torch.bool, torch.uint8, torch.int32, torch.int64)
        if tensor.dtype != torch.float32 and (id(tensor) in parameters or not whole):
            raise CaseError(
                f"{name}: {full_name} is {str(tensor.dtype).removeprefix('torch.')}, but models "
                "hold float32; convert it (of complex numbers hold both parts)"
            )
