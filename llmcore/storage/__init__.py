"""The client for storages."""

from llmcore.storage.client import StorageClient

__all__ = ["StorageClient"]
