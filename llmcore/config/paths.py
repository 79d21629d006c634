"""Resolve paths in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmcore.support.home import expand_home
from llmcore.support.user_folders import get_working_folder

__all__ = ["resolve_path"]


def resolve_path(text: str, *, env: Mapping[str, str], folder: Path | None) -> Path:
    """Return *text* as a path.

    Args:
        text: The path as configured; `~/` is the home folder.
        env: The environment variables that determine the home folder.
        folder: The folder of the file that contains the path. A relative path is resolved from this folder;
            with None, it stays relative to the working directory.
    """
    try:
        path = expand_home(text, env)
    except RuntimeError:  # no such user or home directory; opening the unchanged path reports the error
        return Path(text)
    return (
        path if folder is None else (folder if folder.is_absolute() else get_working_folder() / folder) / path
    )
