"""Register the storages `s3`, `gcs`, `azure` and `object_memory`. The first use of a storage imports the SDK."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from llmcore.hookspecs import Provider, hookimpl
from llmcore_storage_object.options import AzureOptions, CommonOptions, GcsOptions, MemoryOptions, S3Options

if TYPE_CHECKING:
    from llmcore_storage_object.provider import ObjectStorage

__all__ = [
    "LLMCORE_API",
    "AzureOptions",
    "CommonOptions",
    "GcsOptions",
    "MemoryOptions",
    "S3Options",
    "create_azure",
    "create_gcs",
    "create_memory",
    "create_s3",
    "llmcore_storage_providers",
]

LLMCORE_API: Final = 1


def create_s3(options: S3Options) -> ObjectStorage:
    """Return the storage for *options*."""
    from llmcore_storage_object import stores

    return stores.make_s3_storage(options)


def create_gcs(options: GcsOptions) -> ObjectStorage:
    """Return the storage for *options*."""
    from llmcore_storage_object import stores

    return stores.make_gcs_storage(options)


def create_azure(options: AzureOptions) -> ObjectStorage:
    """Return the storage for *options*."""
    from llmcore_storage_object import stores

    return stores.make_azure_storage(options)


def create_memory(options: MemoryOptions) -> ObjectStorage:
    """Return an empty storage in the memory of this process."""
    from llmcore_storage_object import stores

    return stores.make_memory_storage(options)


@hookimpl
def llmcore_storage_providers() -> Iterable[Provider]:
    """Offer `s3`, `gcs`, `azure` and `object_memory`."""
    yield Provider(name="s3", options=S3Options, create=create_s3)
    yield Provider(name="gcs", options=GcsOptions, create=create_gcs)
    yield Provider(name="azure", options=AzureOptions, create=create_azure)
    yield Provider(name="object_memory", options=MemoryOptions, create=create_memory)
