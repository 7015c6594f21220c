"""Weights from elsewhere: a safetensors file with a module's state. Uses torch, no pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.networks.state import load_state

__all__ = ["load_weights"]

WRAPPERS = {
    "module.": "DistributedDataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "a class around the network",
}
"""What states are called by that were saved from around a module -> from around what."""

SAVE = "save it as safetensors.torch.save_file(net.state_dict(), ...)"


def load_weights(module: nn.Module, path: Path, source: str = "") -> None:
    """Put the state in a safetensors file into `module`. Not collective.

    source: SHA-256 that the file must have; any if empty. Of tensors that share their memory one
    name is enough. Raises CaseError unless the file's names, shapes and types are the module's,
    and its numbers finite.
    """
    tensors = _read(path, source)
    state = module.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}
    for name, tensor in state.items():
        names.setdefault(id(tensor), []).append(name)
    aliases = list(names.values())
    missing = [alias[0] for alias in aliases if not any(name in tensors for name in alias)]
    extra = [name for name in tensors if name not in state]
    if missing or extra:
        raise CaseError(f"{path}: {_words(missing, extra)}")
    for name, tensor in tensors.items():
        _check(path, name, tensor, state[name])
    found: dict[str, Tensor] = {}
    for alias in aliases:
        first, *others = (name for name in alias if name in tensors)
        for name in others:
            if not torch.equal(tensors[name], tensors[first]):
                raise CaseError(
                    f"{path}: {name!r} and {first!r} are one tensor in the network, but differ"
                )
        found[alias[0]] = tensors[first]
    load_state(module, found)


def _read(path: Path, source: str) -> dict[str, Tensor]:
    require_file(path, "safetensors file")
    if source and provenance.file_digest(path) != source:
        raise CaseError(
            f"{path}: not the file that it was (its SHA-256 is no longer {source[:12]}…): put that "
            "one back, or train again with --fresh or --out DIR"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        words = str(error).splitlines()[0]
        pickle = "" if path.suffix == ".safetensors" else f"; a pickle is not opened, {SAVE}"
        raise CaseError(f"{path}: not a readable safetensors file ({words}){pickle}") from None


def _check(path: Path, name: str, tensor: Tensor, own: Tensor) -> None:
    """Raise CaseError unless a tensor can take the place of the module's own."""
    if tensor.shape != own.shape:
        raise CaseError(
            f"{path}: {name!r} has shape {tuple(tensor.shape)}, but the network needs "
            f"{tuple(own.shape)}; are its settings those of the file?"
        )
    if tensor.dtype != own.dtype:
        raise CaseError(
            f"{path}: {name!r} is {_plain(tensor)}, but the network has {_plain(own)}; convert the "
            "file"
        )
    if tensor.dtype.is_floating_point and not torch.isfinite(tensor).all():
        raise CaseError(f"{path}: {name!r} is not finite; give other weights")


def _plain(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _words(missing: Sequence[str], extra: Sequence[str]) -> str:
    """Which names are wrong, and why if that can be told."""
    parts = [f"has no {_some(missing)}"] if missing else []
    parts += [f"has {_some(extra)}, which the network has not"] if extra else []
    words = " and ".join(parts)
    for prefix, wrapper in WRAPPERS.items():
        if missing and {prefix + name for name in missing} <= set(extra):
            return (
                f"{words}: its names begin with {prefix!r}, as those saved from around a network "
                f"do ({wrapper}); save the state of the network itself"
            )
    return f"{words}; are the class and its settings those that were saved?"


def _some(names: Sequence[str]) -> str:
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"
