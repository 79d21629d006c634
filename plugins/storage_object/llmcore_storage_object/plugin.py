"""Offers the storages `s3`, `gcs`, `azure` and `object_memory`; the SDK is imported when one is first used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Duration, Secret

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


class CommonOptions(Options, frozen=True, kw_only=True):
    """What every object store is told."""

    prefix: str = ""
    """What every key begins with in the store, a folder as it were; the application sees keys without it."""
    timeout: Duration = Duration(30)
    """Longest wait for a connection, and longest silence of the server."""
    retries: int = 3
    """How often a request that failed on the way or with a 5xx is made again."""


class S3Options(CommonOptions, frozen=True, kw_only=True):
    """Options of `[storage.s3]`: Amazon's, or any server that speaks its protocol."""

    bucket: str
    """The bucket, which must exist."""
    region: str = "us-east-1"
    """The region of the bucket."""
    endpoint: str | None = None
    """The server's address, such as "http://127.0.0.1:9000"; None is Amazon's. Plain http works where it says so."""
    access_key_id: Secret | None = None
    """With the next one; None takes what the SDK finds: AWS_ variables, a role, the machine's own."""
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    anonymous: bool = False
    """Whether requests go unsigned, as public buckets allow."""


class GcsOptions(CommonOptions, frozen=True, kw_only=True):
    """Options of `[storage.gcs]`."""

    bucket: str
    """The bucket, which must exist."""
    service_account_key: Secret | None = None
    """The service account's key, the whole JSON; None takes what the SDK finds: the application default credentials."""
    endpoint: str | None = None
    """The server's address; None is Google's."""
    anonymous: bool = False
    """Whether requests go unsigned, as public buckets allow."""


class AzureOptions(CommonOptions, frozen=True, kw_only=True):
    """Options of `[storage.azure]`."""

    account: str
    """The storage account."""
    container: str
    """The container, which must exist."""
    access_key: Secret | None = None
    """The account's key; None takes `sas_token`, else what the SDK finds: AZURE_ variables, the machine's own."""
    sas_token: Secret | None = None
    endpoint: str | None = None
    """The server's address; None is Azure's."""
    anonymous: bool = False
    """Whether requests go unsigned, as public containers allow."""


class MemoryOptions(Options, frozen=True, kw_only=True):
    """Options of `[storage.object_memory]`."""

    prefix: str = ""
    """What every key begins with in the store."""


def create_s3(options: S3Options) -> ObjectStorage:
    """Return the storage of these options."""
    from llmcore_storage_object import stores

    return stores.s3(options)


def create_gcs(options: GcsOptions) -> ObjectStorage:
    """Return the storage of these options."""
    from llmcore_storage_object import stores

    return stores.gcs(options)


def create_azure(options: AzureOptions) -> ObjectStorage:
    """Return the storage of these options."""
    from llmcore_storage_object import stores

    return stores.azure(options)


def create_memory(options: MemoryOptions) -> ObjectStorage:
    """Return a storage that is empty, and gone with the process."""
    from llmcore_storage_object import stores

    return stores.memory(options)


@hookimpl
def llmcore_storage_providers() -> Iterable[Provider]:
    """Offer `s3`, `gcs`, `azure` and `object_memory`."""
    yield Provider(name="s3", options=S3Options, create=create_s3)
    yield Provider(name="gcs", options=GcsOptions, create=create_gcs)
    yield Provider(name="azure", options=AzureOptions, create=create_azure)
    yield Provider(name="object_memory", options=MemoryOptions, create=create_memory)
