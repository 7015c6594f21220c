"""What readers are told of an adaptation: its own words, and the role it has in a comparison."""

from __future__ import annotations

from typing import Literal

from eddyscope.artefacts.json_part import JsonPart

__all__ = ["NOT_ADAPTED", "Adapted", "Role"]

Role = Literal["base", "layers", "ceiling", "floor", "control"]
"""base: nothing was re-trained; layers: named layers, what a case compares; ceiling: what
re-training can do at most; floor: what needs no re-training; control: anything else."""


class Adapted(JsonPart):
    """How an adaptation speaks of itself; kept with each model and in the evaluation."""

    role: Role
    words: str
    """What was re-trained, in few words: "l02", "all layers", "output × one number"."""


NOT_ADAPTED = Adapted(role="base", words="nothing")
"""Of the base model."""
