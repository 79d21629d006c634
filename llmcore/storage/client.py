"""The client for storages: what an application calls to keep files."""

from __future__ import annotations

from llmcore.storage.listing import ListedFiles
from llmcore.storage.streams import StreamedFiles
from llmcore.storage.whole import WholeFiles

__all__ = ["StorageClient"]


class StorageClient(WholeFiles, StreamedFiles, ListedFiles):
    """Keeps files under keys such as "reports/november.txt". Each method has an async twin with the prefix `a`.

    Every method raises a `StorageError`: `StorageKeyError` for a key that is not acceptable, `StorageNotFound`,
    `StorageReadOnly`, `StorageFull`, and where a condition was set `StorageExists` or `StorageChanged`. Streams, pages, copies,
    moves and facts work with every backend, in one piece where it has nothing better; what cannot be made up for, a
    condition, a signed address or a folder, raises a `PluginError` where the backend lacks it.
    """
