"""Resolve paths in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmcore.support.home import expand_home
from llmcore.support.user_folders import working_folder

__all__ = ["resolve_path"]


def resolve_path(text: str, *, env: Mapping[str, str], folder: Path | None) -> Path:
    """Return *text* as a path.

    Args:
        text: The path as configured; `~/` is the home folder.
        env: The environment variables that determine the home folder.
        folder: The folder of the file with the path, to which it is relative. None leaves it relative to the working
            directory.
    """
    try:
        path = expand_home(text, env)
    except RuntimeError:  # no such user, or no home: reported when the path is used
        return Path(text)
    return path if folder is None else (folder if folder.is_absolute() else working_folder() / folder) / path
