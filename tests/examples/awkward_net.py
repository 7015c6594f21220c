"""A network as a user brings it, with much that is awkward: a file of its own, which knows
nothing of this program."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import gelu


class Awkward(nn.Module):
    """Padding with zeros, batch normalisation, dropout, a skip connection, a coarser grid, a
    layer that is used twice with one weight and two biases, submodules in no order, one that is
    never used, and an output that is squashed."""

    def __init__(self, inputs: int = 2, outputs: int = 1, width: int = 4):
        super().__init__()
        self.spare = nn.Conv2d(width, width, 3)
        self.last = nn.Conv2d(2 * width, outputs, 1)
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.down = nn.Conv2d(width, width, 2, stride=2)
        self.mix = nn.Conv2d(width, width, 1)
        self.again = nn.Conv2d(width, width, 1)
        self.again.weight = self.mix.weight
        self.drop = nn.Dropout(0.1)
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = gelu(self.norm(self.first(x)))
        coarse = gelu(self.down(fine))
        coarse = coarse + self.again(gelu(self.mix(coarse)))
        mean = coarse.view(len(x), -1).mean(dim=1)
        coarse = self.drop(coarse) * (1.0 + mean.view(-1, 1, 1, 1))
        raised = self.up(coarse)
        raised += fine
        y = self.last(torch.cat([fine, raised], dim=1))
        return 3.0 * torch.tanh(y / 3.0)


class Other(nn.Module):
    """Another network of the same file: not convolutional."""

    def __init__(self, n: int = 16):
        super().__init__()
        self.n = n
        self.dense = nn.Linear(2 * n * n, n * n)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(x.flatten(1)).reshape(len(x), 1, self.n, self.n)
