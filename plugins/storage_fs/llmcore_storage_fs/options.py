"""The options of the storage `fs`."""

from __future__ import annotations

from pathlib import Path

from llmcore.hookspecs import Options

__all__ = ["FsOptions"]


class FsOptions(Options, frozen=True):
    """Options of `[storage.fs]`."""

    root: Path = Path("data")
    """The folder of the files, which is created at the first write. `~` is expanded. A relative path in a configuration file is
    relative to that file's folder, any other to the working directory."""
