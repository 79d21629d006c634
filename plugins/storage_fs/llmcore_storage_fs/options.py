"""The options of the storage `fs`."""

from __future__ import annotations

from pathlib import Path

from llmcore.hookspecs import Options

__all__ = ["FsOptions"]


class FsOptions(Options, frozen=True):
    """Options of `[storage.fs]`."""

    root: Path = Path("data")
    """The folder for the files. The first write creates it. `~` is expanded. A relative path in a configuration file starts
    at that file's folder; other relative paths start at the working directory."""
