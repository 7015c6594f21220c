"""In which precision a training computes. Weights, their updates and the loss are float32 in all.

float32    all products in float32
tf32       products of convolutions and matrices with 10 bits of mantissa, on GPUs that have
           them; on others, and on CPUs, as float32
bf16       layers that torch's autocast knows compute in bfloat16
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import nn

from eddyscope.config.errors import CaseError
from eddyscope.learning.recipe import Precision
from eddyscope.learning.training_mode import untouched

__all__ = ["autocast", "compiled", "products"]


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Let GPUs round what they multiply as `precision` says, and go on as before afterwards."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """For a forward pass."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def compiled(network: nn.Module, precision: Precision, x: torch.Tensor) -> nn.Module:
    """`network` as torch compiles it; tried on a batch `x`. CaseError where torch cannot.

    One kernel a shape of batches: sums then do not depend on which shapes came before.
    """
    try:
        import torch._inductor.config as inductor

        inductor.compile_threads = 1  # ranks must not fork
        model = cast(nn.Module, torch.compile(network, dynamic=False))
        with untouched(network, x.device), autocast(precision, x.device):
            model(x).float().sum().backward()
    except (RuntimeError, ImportError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = lines[0] if lines else type(error).__name__
        raise CaseError(
            f"training.compile = true, but torch cannot compile the network here ({why}); on a "
            "CPU it needs a C++ compiler such as g++; install one, or set training.compile = false"
        ) from None
    return model
