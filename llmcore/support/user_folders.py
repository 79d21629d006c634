"""Find the user's folders and the working directory, even without a home directory or after the working directory was deleted."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from llmcore.support.home import expand_home, find_home

__all__ = ["find_cache_folder", "get_user_folder", "get_working_folder"]

_DEFAULTS: Final = {"config": ".config", "cache": ".cache", "state": ".local/state"}
_DELETED: Final = " (deleted)"
"""The suffix that Linux adds to the path of a deleted working directory."""


def get_user_folder(kind: Literal["config", "cache", "state"], env: Mapping[str, str]) -> Path | None:
    """Return the path of llmcore's folder of *kind* for this user; None if the user has no home directory.

    The folder may not exist. XDG variables take precedence over the conventions of the platform. Relative
    paths in XDG variables and HOME are ignored, because such a folder would depend on the working directory.
    """
    base = env.get(f"XDG_{kind.upper()}_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117 - the value may be empty, which `Path` reads as `.`
        return Path(base, "llmcore")
    home = find_home(env)
    if home is None:
        return None
    if sys.platform == "linux" or env is not os.environ or not os.path.isabs(env.get("HOME") or "/"):  # noqa: PTH117 - the value may be empty, which `Path` reads as `.`
        return home / _DEFAULTS[kind] / "llmcore"
    import platformdirs

    return Path(getattr(platformdirs, f"user_{kind}_dir")("llmcore", appauthor=False))


def find_cache_folder(configured: str | os.PathLike[str] | None) -> Path | None:
    """Return *configured* with `~` expanded, or llmcore's folder in the user's cache folder; None if neither exists."""
    if configured is None:
        return get_user_folder("cache", os.environ)
    with suppress(RuntimeError):  # the user in the path does not exist
        return expand_home(configured)
    return Path(configured)


def get_working_folder() -> Path:
    """Return the working directory. Return its former path if it was deleted.

    Raises:
        OSError: The path cannot be determined.
    """
    with suppress(OSError):
        return Path.cwd()
    path = ""
    with suppress(OSError):
        path = os.readlink("/proc/self/cwd").removesuffix(_DELETED)  # noqa: PTH115 - `removesuffix` needs a text
    path = path or os.environ.get("PWD", "")
    if not os.path.isabs(path):  # noqa: PTH117 - the value may be empty, which `Path` reads as `.`
        raise FileNotFoundError(errno.ENOENT, "the working directory does not exist any more")
    return Path(path)
