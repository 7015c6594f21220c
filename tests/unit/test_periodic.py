"""Convolutions on a periodic box: torch's own numbers, and every kind of derivative."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import hessian, vmap

from eddyscope.networks.blocks import convolution
from eddyscope.networks.layers import is_affine
from eddyscope.networks.periodic import PeriodicConv2d, wrapped

SHAPE = (2, 3, 4, 6)
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def fields(layout: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    drawn = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=layout)


def torchs(layer: PeriodicConv2d) -> nn.Conv2d:
    """torch's own convolution with the same weights."""
    size = layer.kernel_size[0]
    channels = layer.in_channels, layer.out_channels
    own = nn.Conv2d(*channels, size, padding=size // 2, padding_mode="circular")
    own = own.to(layer.weight.dtype)
    own.load_state_dict(layer.state_dict())
    return own


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4], ids="width{}".format)
def test_margins_wrap_around_and_the_way_back_adds_them(width, layout):
    x = fields(layout).requires_grad_()
    theirs = nn.functional.pad(x, (width,) * 4, mode="circular")
    ours = wrapped(x, width)
    assert torch.equal(ours, theirs)
    given = torch.randn(ours.shape, dtype=x.dtype).contiguous(memory_format=layout)
    back, wanted = (torch.autograd.grad(y, x, given)[0] for y in (ours, theirs))
    torch.testing.assert_close(back, wanted, rtol=1e-13, atol=1e-13)
    assert back.is_contiguous(memory_format=layout)


def test_derivatives_of_every_kind():
    x = fields().requires_grad_()
    kinds = {"check_forward_ad": True, "check_batched_grad": True}
    assert gradcheck(lambda t: wrapped(t, 2), x, check_batched_forward_grad=True, **kinds)
    assert gradgradcheck(lambda t: wrapped(t, 2), x, check_fwd_over_rev=True)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_layer_gives_what_torchs_own_gives(size):
    layer = convolution(3, 2, size).double()
    nn.init.normal_(layer.weight, std=0.3)
    nn.init.normal_(layer.bias)
    own, x = torchs(layer), fields()
    assert isinstance(layer, PeriodicConv2d)
    assert is_affine(layer)  # else its channels' factors would not be folded into its weights
    assert torch.equal(layer(x), own(x))
    torch.testing.assert_close(vmap(layer)(x), own(x), rtol=1e-12, atol=1e-12)
    small = x[:1, :, :3, :3] if size < 5 else x[:1]
    ours, wanted = (hessian(lambda t, f=f: (f(t) ** 4).sum())(small) for f in (layer, own))
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
