"""The client that applications call to store files."""

from __future__ import annotations

from llmcore.process_bound import ProcessBound
from llmcore.storage.listing import ListedFiles
from llmcore.storage.streams import StreamedFiles
from llmcore.storage.whole_files import WholeFiles

__all__ = ["StorageClient"]


class StorageClient(WholeFiles, StreamedFiles, ListedFiles, ProcessBound):
    """Store files under keys such as "reports/november.txt".

    Each method has an async variant with the prefix `a`. A method that fails raises a `StorageError`:
    `StorageKeyError` for a key that is not acceptable, `StorageNotFound`, `StorageReadOnly`, `StorageFull`,
    and for conditional saves `StorageExists` or `StorageChanged`. Streams, pages, copies, moves and file
    information work with every backend: if a backend does not support one of them, the client uses whole files or
    whole lists of keys in its place. Conditional saves, signed URLs and folders raise a `PluginError` if the backend
    does not support them.
    """
