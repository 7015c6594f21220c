"""How much memory this process takes."""

from __future__ import annotations

import resource
import sys

__all__ = ["resident"]


def resident() -> int:
    """Bytes of main memory that this process has taken so far, at the most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
