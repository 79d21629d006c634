"""Create the SDK's stores from the options."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import obstore
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from llmcore.contracts import is_interrupt
from llmcore.errors import ConfigError
from llmcore.support.text import find_unsendable
from llmcore.types import Secret
from llmcore_storage_object.bucket import Bucket
from llmcore_storage_object.key_nesting import Nesting
from llmcore_storage_object.network_check import check_network
from llmcore_storage_object.options import AzureOptions, CommonOptions, GcsOptions, MemoryOptions, S3Options
from llmcore_storage_object.provider import ObjectStorage, SigningStorage
from llmcore_storage_object.s3_lister import Lister

__all__ = ["make_azure_storage", "make_gcs_storage", "make_memory_storage", "make_s3_storage"]

_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+(%[a-z0-9]+)?")
_RETRY_TIMEOUT: Final = timedelta(minutes=3)
_DUMMY_KEYS: Final = {
    "access_key_id": "nobody", "secret_access_key": "nothing", "session_token": None, "skip_signature": None,
}  # fmt: skip
_UNSIGNED: Final = json.dumps(
    {"gcs_base_url": "", "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
)
"""A service account without a key. With this account, the SDK requests no token."""
_NO_RETRIES: Final = {"max_retries": 0, "retry_timeout": _RETRY_TIMEOUT}


def make_s3_storage(options: S3Options) -> SigningStorage:
    """Return a storage for an S3 bucket."""
    _check_endpoint("s3", options.endpoint)
    check_network(options.endpoint or f"https://s3.{options.region}.amazonaws.com")
    keys = (options.access_key_id, options.secret_access_key, options.session_token)
    arguments = {
        **_make_common_options(options, options.endpoint), "region": options.region, "endpoint": options.endpoint,
        "access_key_id": _reveal(options.access_key_id), "secret_access_key": _reveal(options.secret_access_key),
        "session_token": _reveal(options.session_token), "skip_signature": options.anonymous or None,
        # Delete one object per request: some S3-compatible servers do not support bulk deletes.
        "disable_bulk_delete": True,
    }  # fmt: skip
    store, once = _build("s3", keys, S3Store, options.bucket, **arguments)

    def make_signer(address: str) -> Any:
        changed = {"endpoint": address, "virtual_hosted_style_request": True}
        return S3Store(options.bucket, **_drop_none(arguments | changed))

    def find_address() -> str:
        # Only the SDK knows the address, which depends on the options and on environment variables. So sign a URL
        # with dummy keys, which sends no request, and take the address from the URL.
        named = S3Store(options.bucket, **_drop_none(arguments | _DUMMY_KEYS))
        return str(obstore.sign(named, "GET", "x", _RETRY_TIMEOUT)).partition("/x?")[0]

    return SigningStorage(
        Bucket(
            store,
            f"s3://{options.bucket}",
            prefix=options.prefix,
            secrets=keys,
            vendors=options.endpoint is None,
            once=once,
            retries=options.retries,
            lister=_make_lister(options, find_address, None if options.anonymous else make_signer),
        )
    )


def make_gcs_storage(options: GcsOptions) -> SigningStorage:
    """Return a storage for a Google Cloud Storage bucket."""
    _check_endpoint("gcs", options.endpoint)
    service = options.endpoint or "https://storage.googleapis.com"
    check_network(service)
    keys = (options.service_account_key,)
    arguments = {**_make_common_options(options, options.endpoint), "base_url": options.endpoint}
    arguments["service_account_key"] = (
        _UNSIGNED if options.anonymous else _reveal(options.service_account_key)
    )
    store, once = _build("gcs", keys, GCSStore, options.bucket, **arguments)
    writer = None
    if options.anonymous:
        # GCSStore sends an empty token with writes, so unsigned access goes through Google's S3-compatible XML API.
        unsigned = {"endpoint": service, "skip_signature": True, "disable_bulk_delete": True}
        writer, _ = _build(
            "gcs", (), S3Store, options.bucket, **_make_common_options(options, options.endpoint), **unsigned
        )

    def make_signer(address: str) -> Any:
        return GCSStore(options.bucket, **_drop_none(arguments | {"base_url": address}))

    lister = None
    if options.anonymous or _can_sign(options.service_account_key):
        address = f"{service.rstrip('/')}/{options.bucket}"
        lister = _make_lister(options, lambda: address, None if options.anonymous else make_signer)
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
            lister=lister,
            writer=writer,
        )
    )


def make_azure_storage(options: AzureOptions) -> SigningStorage:
    """Return a storage for an Azure Blob Storage container."""
    _check_endpoint("azure", options.endpoint)
    check_network(options.endpoint or f"https://{options.account}.blob.core.windows.net")
    keys = (options.access_key, options.sas_token)
    store, once = _build(
        "azure", keys, AzureStore, options.container, **_make_common_options(options, options.endpoint),
        account_name=options.account, account_key=_reveal(options.access_key), sas_key=_reveal(options.sas_token),
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


def make_memory_storage(options: MemoryOptions) -> ObjectStorage:
    """Return a storage in the memory of this process."""
    return ObjectStorage(
        Bucket(MemoryStore(), "memory://", prefix=options.prefix, shared=False, nesting=Nesting())
    )


def _make_lister(
    options: CommonOptions, address: Callable[[], str], signer: Callable[[str], Any] | None
) -> Lister:
    return Lister(address, signer, timeout_s=options.timeout, retries=options.retries)


def _can_sign(account: Secret | None) -> bool:
    """Return whether the service account's key includes a private key, which signs without a request."""
    try:
        key = json.loads(account.reveal()) if account is not None else None
    except ValueError:
        return False
    return isinstance(key, dict) and bool(key.get("private_key"))


def _make_common_options(options: CommonOptions, endpoint: str | None) -> dict[str, Any]:
    silence = timedelta(seconds=options.timeout)
    return {
        "client_options": {
            "connect_timeout": silence,
            "read_timeout": silence,
            "timeout": timedelta(days=1),  # a large transfer may take hours
            "allow_http": (endpoint or "").startswith("http://"),
        },
        "retry_config": {"max_retries": options.retries, "retry_timeout": _RETRY_TIMEOUT},
    }


def _build(
    name: str, secrets: Iterable[Secret | None], kind: Callable[..., Any], *args: Any, **options: Any
) -> tuple[Any, Any]:
    """Return two stores: the first with retries, the second without retries.

    Options that are None are omitted, so the SDK's defaults apply.
    """
    arguments = _drop_none(options)
    try:
        return kind(*args, **arguments), kind(*args, **arguments | {"retry_config": _NO_RETRIES})
    except BaseException as error:
        if is_interrupt(error):
            raise
        fault = " ".join(str(error).partition("\n\nDebug source")[0].split())
    for secret in secrets:
        if secret is not None and secret.reveal():
            fault = fault.replace(secret.reveal(), "\u2026")
    raise ConfigError(
        f"the SDK rejects the options of [storage.{name}]: {fault}",
        where=f"storage.{name}",
        expected="a bucket or container, and credentials from the same vendor",
        fix="llmcore config show",
    )


def _drop_none(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _check_endpoint(name: str, endpoint: str | None) -> None:
    """Raise for an endpoint that the SDK accepts but that would fail at the first call."""
    if endpoint is None or (fault := _find_fault(endpoint)) is None:
        return
    shown = "" if "@" in endpoint else f", got {endpoint!a}"  # text before "@" may be a password
    raise ConfigError(
        f"endpoint must be the URL of a server{shown}: {fault}",
        where=f"storage.{name}.endpoint",
        expected="http:// or https://, a host, and a port if it is not the default one",
        fix='endpoint = "http://127.0.0.1:9000"',
        notes=["without an endpoint, llmcore uses the vendor's service"],
    )


def _find_fault(endpoint: str) -> str | None:
    if unsendable := find_unsendable(endpoint, spaces=False):
        return f"it contains {unsendable}"
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not _HOST.fullmatch(parts.hostname or "") or port == 0 or parts.netloc.endswith(":"):
        return "it has no host, or no port after the colon"
    if parts.username is not None or parts.query or parts.fragment:
        return "it must have only a host, a port and a path"
    return None


def _reveal(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
