"""Lists of names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["listed", "shortened"]


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def shortened(names: Sequence[str], shown: int) -> str:
    """The first of them: "a, b, c and 4 more"."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
