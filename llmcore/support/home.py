"""Find the user's home directory, and expand `~`, independently of the working directory.

`os.path.expanduser` accepts a relative HOME: the same path would name another folder after each `cd`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["expand_home", "find_home"]


def find_home(env: Mapping[str, str]) -> Path | None:
    """Return the user's home directory.

    This is HOME if it is absolute, else the entry in the user database; None if both are missing.

    The user database is used only if *env* is `os.environ`.
    """
    home = env.get("HOME", "")
    if os.path.isabs(home):  # noqa: PTH117 - the value may be empty, which `Path` reads as `.`
        return Path(home)
    if env is not os.environ:
        return None
    if sys.platform == "win32":
        path = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises if there is none
    else:
        import pwd

        try:
            path = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # the user id has no entry in the user database, as in some containers
            return None
    return Path(path) if os.path.isabs(path) else None  # noqa: PTH117 - the value may be empty, which `Path` reads as `.`


def expand_home(path: str | os.PathLike[str], env: Mapping[str, str] = os.environ) -> Path:
    """Return *path* with `~` and `~user` expanded; return other paths unchanged.

    Raises:
        RuntimeError: The user does not exist or has no home directory.
    """
    parts = Path(path).parts
    if parts[:1] != ("~",):
        return Path(path).expanduser()
    home = find_home(env)
    if home is None:
        raise RuntimeError("the user has no home directory")
    return home.joinpath(*parts[1:])
