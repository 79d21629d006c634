"""Find the library and its data in the distribution `espeakng-loader`."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

import espeakng_loader

__all__ = ["get_data_path", "get_library_path", "list_variants"]

_LONGEST_PATH: Final = 150
"""The maximum length of the path of the data, in bytes. The library truncates paths of more than 160 bytes."""


def get_library_path() -> str:
    """Return the absolute path of the library."""
    return os.path.abspath(str(espeakng_loader.get_library_path()))  # noqa: PTH100 - keep links


@cache
def list_variants() -> tuple[str, ...]:
    """Return the variants of voices, such as "f3"."""
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return tuple(sorted(path.name for path in folder.iterdir()))


@cache
def get_data_path() -> str:
    """Return the absolute path of the library's data, or of a link to it if the path is too long for the library."""
    path = os.path.abspath(str(espeakng_loader.get_data_path()))  # noqa: PTH100
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    import atexit
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="llmcore-espeak-"))
    atexit.register(_remove, folder, os.getpid())
    short = folder / "espeak-ng-data"
    short.symlink_to(path, target_is_directory=True)
    return str(short)


def _remove(folder: Path, owner: int) -> None:
    import shutil

    if os.getpid() == owner:  # a forked child must not delete the folder of its parent
        shutil.rmtree(folder, ignore_errors=True)
