"""Offers the storage `fs`: files under one folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcore.hookspecs import Options, Provider, hookimpl

if TYPE_CHECKING:
    from llmcore_storage_fs.provider import FsStorage

LLMCORE_API = 1


class FsOptions(Options, frozen=True):
    """Options of `[storage.fs]`."""

    root: Path = Path("data")
    """The folder that holds the files; made at the first write. `~` is the home folder; a relative path in a file counts from
    that file's folder, any other from the working directory."""


def create(options: FsOptions) -> FsStorage:
    """Return the storage of these options."""
    from llmcore_storage_fs.provider import FsStorage

    return FsStorage(options.root)


@hookimpl
def llmcore_storage_providers() -> Iterable[Provider]:
    """Offer `fs`."""
    yield Provider(name="fs", options=FsOptions, create=create)
