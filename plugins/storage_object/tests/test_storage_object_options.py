"""Wrong options are reported when the storage is created, as our errors."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import llmcore
from llmcore.errors import ConfigError, StorageError
from llmcore_storage_object import stores
from llmcore_storage_object.bucket import Bucket
from llmcore_storage_object.io_calls import IOCall, arun, run
from llmcore_storage_object.plugin import AzureOptions, GcsOptions, S3Options

NO_ADDRESSES = [
    "", "localhost:9", "127.0.0.1:9", "http://", "http://:9", "http://127.0.0.1:99999", "http://127.0.0.1:0", "http://a:",
    "http://127.0.0.1:x", "http://ex ample", "http://h\u00f6st.example", "http://host\n", "ftp://host", "//host", "http:/host",
    "http://[::1", "http://ho<st", "http://user:CANARY@host", "http://host?query", "https://host#part",
]  # fmt: skip


@pytest.mark.parametrize("endpoint", NO_ADDRESSES)
def test_an_invalid_endpoint_is_a_configuration_error(endpoint: str) -> None:
    makers: dict[str, Any] = {
        "s3": lambda: stores.make_s3_storage(S3Options(bucket="b", endpoint=endpoint, anonymous=True)),
        "gcs": lambda: stores.make_gcs_storage(GcsOptions(bucket="b", endpoint=endpoint, anonymous=True)),
        "azure": lambda: stores.make_azure_storage(
            AzureOptions(account="a", container="c", endpoint=endpoint, anonymous=True)
        ),
    }
    for name, make in makers.items():
        with pytest.raises(ConfigError) as caught:
            make()
        assert caught.value.where == f"storage.{name}.endpoint"
        assert caught.value.fix
        assert caught.value.expected
        assert "CANARY" not in str(caught.value)


def test_an_invisible_character_is_named() -> None:
    with pytest.raises(ConfigError, match=r"U\+200B ZERO WIDTH SPACE at index 8"):
        stores.make_s3_storage(S3Options(bucket="b", endpoint="http://h\u200b:9000", anonymous=True))


def test_the_host_reports_it_too() -> None:
    s3 = {"bucket": "b", "endpoint": "localhost:9", "anonymous": True}
    with (
        pytest.raises(ConfigError, match="does not begin with http://"),
        llmcore.load({"storage": {"provider": "s3", "s3": s3}}) as core,
    ):
        core.storage.load("a")


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:1", "http://localhost:1/", "http://[::1]:1", "http://a_host.invalid:1/path"],
)
def test_a_valid_endpoint_is_used(endpoint: str) -> None:
    kept = stores.make_s3_storage(S3Options(bucket="b", endpoint=endpoint, anonymous=True, retries=0))
    with pytest.raises(StorageError, match="the object store failed"):
        kept.load("a")


class PanicException(BaseException):
    """Named like the SDK's exception."""


def test_a_panic_of_the_sdk_is_a_storage_error() -> None:
    bucket = Bucket(None, "s3://b")

    def panics() -> None:
        raise PanicException("request valid: InvalidUri")

    async def apanics() -> None:
        panics()

    def work() -> Any:
        yield IOCall(panics, apanics)

    with pytest.raises(StorageError, match="InvalidUri"):
        run(bucket.translate_errors("a", work()))
    with pytest.raises(StorageError, match="InvalidUri"):
        asyncio.run(arun(bucket.translate_errors("a", work())))
