"""Errors that users see, and the nearest of the names they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "AtWork",
    "CaseError",
    "apart",
    "did_you_mean",
    "in_lines",
    "nearest",
    "one_line",
    "together",
]

LONGEST = 1000
"""Characters of a message; what is longer is cut in the middle."""

MOST_LINES = 10
"""Further faults that are told; more are only counted."""


class CaseError(Exception):
    """Bad input from the user: one line that names what was given, what is allowed, the way out.

    It ends the program with exit status 2 and without a traceback. Raise it on
    all ranks together (`parallel.failure.agree` makes it so).

    more: further faults found at the same time, a line each.
    """

    def __init__(self, words: str, more: Sequence[str] = ()):
        super().__init__(words)
        self.more = tuple(more)


class AtWork(CaseError):
    """Another program is at work on what is asked for, or has just done it."""


def together(*checks: Callable[[], None]) -> None:
    """Make all checks, then raise one error for all that failed. CaseErrors and ValueErrors."""
    found: list[str] = []
    for check in checks:
        try:
            check()
        except (CaseError, ValueError) as error:
            found += [str(error), *getattr(error, "more", ())]
    if found:
        raise CaseError(found[0], found[1:])


def nearest(given: object, allowed: Iterable[str], most: int = 1) -> list[str]:
    """The allowed names that are most like what was given; none where none is like it."""
    return difflib.get_close_matches(str(given), list(allowed), n=most, cutoff=0.5)


def did_you_mean(given: object, allowed: Iterable[str], most: int = 1) -> str:
    """ "did you mean x?" or "did you mean x or y?"; empty where no name is like the given one."""
    near = nearest(given, allowed, most)
    return f"did you mean {' or '.join(near)}?" if near else ""


def apart(one: float, other: float, digits: int = 3) -> tuple[str, str]:
    """Two numbers with so many significant digits, or with more where they would look the same."""
    texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
    alike = texts[0] == texts[1] and one != other and digits < 17
    return apart(one, other, digits + 1) if alike else texts


def in_lines(error: BaseException) -> str:
    """An error's words on one line, and what else was found on lines of its own below it."""
    more: Sequence[str] = getattr(error, "more", ())
    lines = [one_line(error), *(f"  also: {one_line(words)}" for words in more[:MOST_LINES])]
    if len(more) > MOST_LINES:
        lines.append(f"  and {len(more) - MOST_LINES} more")
    return "\n".join(lines)


def one_line(words: object) -> str:
    """Words on one line that a terminal can show, whatever names are in them."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(words))
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
