"""Builds the SDK's stores from the options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from llmcore.errors import ConfigError
from llmcore.types import Secret
from llmcore_storage_object.plugin import AzureOptions, CommonOptions, GcsOptions, MemoryOptions, S3Options
from llmcore_storage_object.provider import ObjectStorage, SigningStorage
from llmcore_storage_object.work import Bucket

__all__ = ["azure", "gcs", "memory", "s3"]

_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+(%[a-z0-9]+)?")
_PATIENCE: Final = timedelta(minutes=3)
_NEVER_AGAIN: Final = {"max_retries": 0, "retry_timeout": _PATIENCE}


def s3(options: S3Options) -> SigningStorage:
    """Return a storage in an S3 bucket."""
    _check_endpoint("s3", options.endpoint)
    keys = (options.access_key_id, options.secret_access_key, options.session_token)
    store, once = _built(
        "s3", keys, S3Store, options.bucket, **_common(options, options.endpoint),
        region=options.region, endpoint=options.endpoint, access_key_id=_shown(options.access_key_id),
        secret_access_key=_shown(options.secret_access_key), session_token=_shown(options.session_token),
        skip_signature=options.anonymous or None,
        # One object a request: some servers that speak the protocol know no other way.
        disable_bulk_delete=True,
    )  # fmt: skip
    return SigningStorage(
        Bucket(
            store,
            f"s3://{options.bucket}",
            prefix=options.prefix,
            secrets=keys,
            vendors=options.endpoint is None,
            once=once,
            retries=options.retries,
        )
    )


def gcs(options: GcsOptions) -> SigningStorage:
    """Return a storage in a bucket of Google's."""
    _check_endpoint("gcs", options.endpoint)
    keys = (options.service_account_key,)
    store, once = _built(
        "gcs", keys, GCSStore, options.bucket, **_common(options, options.endpoint),
        base_url=options.endpoint, service_account_key=_shown(options.service_account_key),
        skip_signature=options.anonymous or None,
    )  # fmt: skip
    return SigningStorage(
        Bucket(
            store,
            f"gs://{options.bucket}",
            prefix=options.prefix,
            secrets=keys,
            vendors=options.endpoint is None,
            once=once,
            retries=options.retries,
            by_version=True,
        )
    )


def azure(options: AzureOptions) -> SigningStorage:
    """Return a storage in a container of Azure's."""
    _check_endpoint("azure", options.endpoint)
    keys = (options.access_key, options.sas_token)
    store, once = _built(
        "azure", keys, AzureStore, options.container, **_common(options, options.endpoint),
        account_name=options.account, account_key=_shown(options.access_key), sas_key=_shown(options.sas_token),
        endpoint=options.endpoint, skip_signature=options.anonymous or None,
    )  # fmt: skip
    return SigningStorage(
        Bucket(
            store,
            f"az://{options.account}/{options.container}",
            prefix=options.prefix,
            secrets=keys,
            vendors=options.endpoint is None,
            once=once,
            retries=options.retries,
        )
    )


def memory(options: MemoryOptions) -> ObjectStorage:
    """Return a storage in this process's memory."""
    return ObjectStorage(Bucket(MemoryStore(), "memory://", prefix=options.prefix))


def _common(options: CommonOptions, endpoint: str | None) -> dict[str, Any]:
    silence = timedelta(seconds=options.timeout)
    return {
        "client_options": {
            "connect_timeout": silence,
            "read_timeout": silence,
            "timeout": timedelta(days=1),  # of a whole transfer, which takes what a large file takes
            "allow_http": (endpoint or "").startswith("http://"),
        },
        "retry_config": {"max_retries": options.retries, "retry_timeout": _PATIENCE},
    }


def _built(
    name: str, secrets: Iterable[Secret | None], kind: Callable[..., Any], *args: Any, **options: Any
) -> tuple[Any, Any]:
    """Return the store, and its twin that makes no request again.

    What is None is not said, so that the SDK looks for it itself.
    """
    said = {key: value for key, value in options.items() if value is not None}
    try:
        return kind(*args, **said), kind(*args, **said | {"retry_config": _NEVER_AGAIN})
    except Exception as error:  # noqa: BLE001 - the SDK has no common base for these
        fault = " ".join(str(error).partition("\n\nDebug source")[0].split())
    for secret in secrets:
        if secret is not None and secret.reveal():
            fault = fault.replace(secret.reveal(), "\u2026")
    raise ConfigError(
        f"the options of [storage.{name}] do not fit together: {fault}",
        where=f"storage.{name}",
        expected="a bucket or container and credentials as its vendor gives them",
        fix=f"llmcore config show storage.{name}",
    )


def _check_endpoint(name: str, endpoint: str | None) -> None:
    """Refuse what the SDK would take, and die of at the first call."""
    if endpoint is None or (fault := _fault_of(endpoint)) is None:
        return
    told = "" if "@" in endpoint else f" {endpoint!a}"  # what stands before an @ may be a password
    raise ConfigError(
        f"the endpoint{told} is no address of a server: {fault}",
        where=f"storage.{name}.endpoint",
        expected="http:// or https://, a host, and a port where it is not the usual one",
        fix='endpoint = "http://127.0.0.1:9000"',
        notes=["without an endpoint it is the vendor's own service"],
    )


def _fault_of(endpoint: str) -> str | None:
    if not endpoint.isascii() or any(not "!" <= sign <= "~" for sign in endpoint):
        return "it has a blank, or a sign that is not ASCII"
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not _HOST.fullmatch(parts.hostname or "") or port == 0 or parts.netloc.endswith(":"):
        return "it names no host, or no port after the colon"
    if parts.username is not None or parts.query or parts.fragment:
        return "it may have a host, a port and a path, and nothing else"
    return None


def _shown(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
