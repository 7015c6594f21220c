"""A device that is none: values lie in main memory, but what belongs to it does not go together
with what does not, and is no array of numpy's until it is brought back, as on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
"""What it is called: a name that torch accepts without such a device."""


class Elsewhere(Tensor):
    """A tensor of the device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """While it is entered, there is such a device."""

    def __enter__(self) -> Any:
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    there = [t for t in tensors if isinstance(t, Elsewhere)]
    here = [t for t in tensors if not isinstance(t, Elsewhere) and t.dim() > 0]
    device = kwargs.get("device")
    moves = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    assert moves or not (there and here), f"{func}: tensors on two devices"
    on_device = bool(there) if device is None else torch.device(device) == DEVICE
    if func is torch.ops.aten.copy_.default:
        on_device = isinstance(args[0], Elsewhere)
    kwargs = kwargs | ({} if device is None else {"device": torch.device("cpu")})
    owners = {id(t.inner): t for t in there}
    inside = tree_map(lambda t: t.inner if isinstance(t, Elsewhere) else t, (args, kwargs))
    made = func(*inside[0], **inside[1])

    def outside(value: Any) -> Any:
        if not isinstance(value, Tensor) or not on_device:
            return value
        if value._is_zerotensor():  # of forward-mode derivatives: it has no values to compute with
            value = torch.zeros(value.shape, dtype=value.dtype)
        return owners[id(value)] if id(value) in owners else Elsewhere(value)

    return tree_map(outside, made)
