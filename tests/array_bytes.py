"""Bytes of arrays that objects hold: the independent check of sizes that are worked out."""

from __future__ import annotations

from typing import Any

import numpy as np


def array_bytes(*roots: Any) -> int:
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
        elif type(item).__module__.startswith(("eddyscope.", "layered_flow")):
            waiting += getattr(item, "__dict__", {}).values()
    return total
