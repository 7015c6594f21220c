"""How much memory arrays and this process take."""

from __future__ import annotations

import resource
import sys
from typing import Any

import numpy as np

__all__ = ["held", "resident"]


def held(*roots: Any) -> int:
    """Bytes of all arrays that objects hold, directly or through others; each counted once."""
    seen: set[int] = set()
    total = 0
    waiting = list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            # A view keeps the whole of what it is a view of.
            if isinstance(item.base, np.ndarray):
                waiting.append(item.base)
            else:
                total += item.nbytes
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        elif type(item).__module__.startswith("eddyscope."):
            waiting += getattr(item, "__dict__", {}).values()
    return total


def resident() -> int:
    """Bytes of main memory that this process has taken so far, at the most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
