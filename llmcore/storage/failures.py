"""Complete the errors of a storage server that is unreachable or rejects requests.

The errors get the setting of the address or the credentials, and a fix.
"""

from __future__ import annotations

from llmcore.calls.backend import Backend
from llmcore.errors import StorageDenied, StorageUnavailable

__all__ = ["complete_server_error"]


def complete_server_error(error: StorageUnavailable | StorageDenied, backend: Backend) -> None:
    """Set the place of *error* to the line of the configuration that sets the address or the credentials.

    The place that *error* already has becomes a note.
    """
    name = backend.name
    keys = ("access_key_id", "account_name") if isinstance(error, StorageDenied) else ("endpoint", "base_url")
    paths = [("storage", name, key) for key in keys]
    place, excerpt = backend.locate(*paths, ("storage", name), ("storage", "provider"))
    if error.where is not None and error.where != place:
        error.notes += (f"requested: {error.where}",)
    error.where, error.excerpt = place, excerpt
    error.fix = backend.format_command("doctor")
