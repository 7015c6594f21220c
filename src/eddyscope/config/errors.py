"""Errors that users see, and the nearest of the names they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["CaseError", "did_you_mean", "nearest", "one_line"]

LONGEST = 1000
"""Characters of a message; what is longer is cut in the middle."""


class CaseError(Exception):
    """Bad input from the user: one line that names what was given, what is allowed, the way out.

    It ends the program with exit status 2 and without a traceback. Raise it on
    all ranks together (`parallel.failure.agree` makes it so).
    """


def nearest(given: object, allowed: Iterable[str], most: int = 1) -> list[str]:
    """The allowed names that are most like what was given; none where none is like it."""
    return difflib.get_close_matches(str(given), list(allowed), n=most, cutoff=0.5)


def did_you_mean(given: object, allowed: Iterable[str], most: int = 1) -> str:
    """ "did you mean x?" or "did you mean x or y?"; empty where no name is like the given one."""
    near = nearest(given, allowed, most)
    return f"did you mean {' or '.join(near)}?" if near else ""


def one_line(error: BaseException) -> str:
    """An error's words on one line that a terminal can show, whatever names are in them."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
