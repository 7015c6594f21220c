"""A network of one's own, for own_network.toml: any torch module that maps normalised fields
(sample, input channel, y, x) to (sample, output channel, y, x) on the same grid."""

import torch
from torch import nn


class Residual(nn.Module):
    """Blocks x + conv(gelu(norm(conv(x)))) between two 1 × 1 convolutions, periodic."""

    def __init__(self, width: int = 16, blocks: int = 2):
        super().__init__()
        self.lift = nn.Conv2d(2, width, 1)  # of psi and omega
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.lower = nn.Conv2d(width, 1, 1)  # to pi

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lift(x)
        for block in self.blocks:
            x = x + block(x)
        return self.lower(x)


class Block(nn.Sequential):
    def __init__(self, width: int):
        def convolution() -> nn.Conv2d:
            return nn.Conv2d(width, width, 5, padding=2, padding_mode="circular", bias=False)

        super().__init__(convolution(), nn.BatchNorm2d(width), nn.GELU(), convolution())
