"""Files that users name: checked before they are opened, and relative to the case file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from eddyscope.config.errors import CaseError

__all__ = ["FileName", "as_path", "beside_the_case", "read_file", "require_file"]


def require_file(path: Path, what: str, hint: str = "", largest: int | None = None) -> None:
    """CaseError unless `path` is a file of at most `largest` bytes. Not collective.

    what: what it should be, as in "case file"; hint: the way out where there is none.
    Opening a pipe or a device instead could hang, or never end.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise CaseError(f"{path}: no such {what}" + (f"; {hint}" if hint else "")) from None
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise CaseError(f"{path}: cannot be read ({reason})") from None
    if stat.S_ISDIR(found.st_mode):
        raise CaseError(f"{path}: cannot be read as a {what}: it is a folder; name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise CaseError(f"{path}: cannot be read as a {what}: it is a pipe or a device, not a file")
    if largest is not None and found.st_size > largest:
        raise CaseError(
            f"{path}: cannot be read as a {what}: its {found.st_size} bytes are more than {largest}"
        )


def as_path(name: object) -> Path:
    """The path that a caller gives. CaseError for what is none."""
    if not isinstance(name, str | os.PathLike):
        raise CaseError(f"path = {name!r}: give the name of a file")
    return Path(name)


def read_file(path: Path) -> bytes:
    """The bytes of a file. OSError where there is none, or a pipe or a device, which could hang."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is not a file, but a folder, a pipe or a device")
    return path.read_bytes()


def beside_the_case(name: str, info: ValidationInfo) -> str:
    """The absolute name of a file that is named relative to the case file being read."""
    folder = (info.context or {}).get("folder")
    return name if folder is None else os.path.realpath(os.path.join(folder, name))


FileName = Annotated[str, AfterValidator(beside_the_case)]
"""A setting that names a file, relative to the folder of the case file; absolute once read."""
