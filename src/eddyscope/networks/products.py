"""Counting a network's products as it computes, by torch's own rules. Uses torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["counted"]


def counted(network: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Floating-point operations of a network on x: a product and a sum each count as one; what is
    not a product with weights is left out."""
    with torch.no_grad(), _Counter() as counter:
        network(x)
    return float(counter.total)


class _Counter(TorchDispatchMode):
    """torch's own counter (torch.utils.flop_counter) without its tables by submodule, and without
    its compiler, whose import takes a second of every command that plans a training."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        named = dict(kwargs or {})
        if func not in flop_registry and func._overloadpacket not in flop_registry:
            with self:
                whole = func.decompose(*args, **named)
            if whole is not NotImplemented:
                return whole
        given = func(*args, **named)
        rule = flop_registry.get(func._overloadpacket)
        if rule is not None:
            self.total += rule(*args, **named, out_val=given)
        return given
