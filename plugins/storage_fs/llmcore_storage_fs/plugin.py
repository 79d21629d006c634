"""Register the storage `fs`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_storage_fs.options import FsOptions

if TYPE_CHECKING:
    from llmcore_storage_fs.provider import FsStorage

__all__ = ["LLMCORE_API", "FsOptions"]

LLMCORE_API = 1


def create(options: FsOptions) -> FsStorage:
    """Return the storage for *options*."""
    from llmcore_storage_fs.provider import FsStorage

    return FsStorage(options.root)


@hookimpl
def llmcore_storage_providers() -> Iterable[Provider]:
    """Offer `fs`."""
    yield Provider(name="fs", options=FsOptions, create=create)
