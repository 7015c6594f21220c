"""Small networks of every kind in the registry, for tests that walk it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eddyscope.networks.registry import NETWORKS
from eddyscope.networks.settings import Channels, NetworkSettings

AWKWARD = Path(__file__).parent / "examples" / "awkward_net.py"
"""A user's network."""

ONE = Channels.of_flow()

SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"depth": 3, "width": 4, "kernel_size": 3},
    "unet": {"width": 3},
    "user": {"path": str(AWKWARD), "class": "Awkward"},
}
"""Settings of small networks; a network that is not named here has its defaults."""


def small_network(kind: str, channels: Channels = ONE) -> NetworkSettings:
    """Settings of a small network of this kind."""
    settings = dict(SMALL.get(kind, {}))
    if kind == "user":
        lengths = {"inputs": len(channels.inputs), "outputs": len(channels.outputs)}
        settings["settings"] = lengths
    found: NetworkSettings = NETWORKS.settings(kind, **settings)
    return found


def override(kind: str) -> str:
    """The same for a command line or `make_case`."""
    table = ", ".join(f"{name} = {value!r}" for name, value in SMALL.get(kind, {}).items())
    return f'network={{kind = "{kind}"{", " if table else ""}{table}}}'
