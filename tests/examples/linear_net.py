"""Two convolutions with nothing between them: a network that is one linear filter."""

from __future__ import annotations

from torch import nn


class Linear(nn.Sequential):
    def __init__(self, inputs: int = 2) -> None:
        first = nn.Conv2d(inputs, 4, 3, padding=1, padding_mode="circular", bias=False)
        super().__init__(first, nn.Conv2d(4, 1, 1, bias=False))
