"""What applications call to keep files."""

from llmcore.storage.client import StorageClient

__all__ = ["StorageClient"]
