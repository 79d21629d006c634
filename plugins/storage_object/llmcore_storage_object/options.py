"""The options of the object storages."""

from __future__ import annotations

from llmcore.hookspecs import Options
from llmcore.types import Duration, Secret

__all__ = ["AzureOptions", "CommonOptions", "GcsOptions", "MemoryOptions", "S3Options"]


class CommonOptions(Options, frozen=True, kw_only=True):
    """The options of every object store."""

    prefix: str = ""
    """Prepended to every object name, like a folder. The application's keys do not include the prefix."""
    timeout: Duration = Duration(30)
    """The timeout for connecting and for each pause between received bytes."""
    retries: int = 3
    """The number of retries after a connection error or a status 5xx."""


class S3Options(CommonOptions, frozen=True, kw_only=True):
    """Options of `[storage.s3]`: Amazon S3, or any server with its protocol."""

    bucket: str
    """The bucket. It must exist."""
    region: str = "us-east-1"
    """The region of the bucket."""
    endpoint: str | None = None
    """The URL of the server, such as "http://127.0.0.1:9000"; None means Amazon's. A URL with http:// allows plain HTTP."""
    access_key_id: Secret | None = None
    """Used with `secret_access_key`. None means the SDK's defaults: AWS_ variables, a role, or the machine's identity."""
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    anonymous: bool = False
    """True if requests are not signed, for public buckets."""


class GcsOptions(CommonOptions, frozen=True, kw_only=True):
    """Options of `[storage.gcs]`."""

    bucket: str
    """The bucket. It must exist."""
    service_account_key: Secret | None = None
    """The JSON key of the service account. None means the application default credentials."""
    endpoint: str | None = None
    """The URL of the server; None means Google's."""
    anonymous: bool = False
    """True if requests are not signed, for public buckets."""


class AzureOptions(CommonOptions, frozen=True, kw_only=True):
    """Options of `[storage.azure]`."""

    account: str
    """The storage account."""
    container: str
    """The container. It must exist."""
    access_key: Secret | None = None
    """The account key. None means `sas_token`, or the SDK's defaults: AZURE_ variables or the machine's identity."""
    sas_token: Secret | None = None
    endpoint: str | None = None
    """The URL of the server; None means Azure's."""
    anonymous: bool = False
    """True if requests are not signed, for public containers."""


class MemoryOptions(Options, frozen=True, kw_only=True):
    """Options of `[storage.object_memory]`."""

    prefix: str = ""
    """Prepended to every object name."""
