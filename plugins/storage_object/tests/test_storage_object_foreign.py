"""Lists of buckets with objects of other programs, over real HTTP: unmodified names, pages, failures, signatures."""

from __future__ import annotations

import asyncio
import http.server
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest

from llmcore.errors import ConfigError, StorageDenied, StorageError, StorageKeyError, StorageUnavailable
from llmcore.types import Secret
from llmcore_storage_object import stores
from llmcore_storage_object.plugin import AzureOptions, GcsOptions, MemoryOptions, S3Options
from llmcore_storage_object.provider import ObjectStorage

AZURE = """<?xml version="1.0"?><EnumerationResults><Blobs>{}</Blobs><NextMarker/></EnumerationResults>"""
BLOB = """<Blob><Name>{}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>
<Content-Length>{}</Content-Length><Content-Type>text/plain</Content-Type><Etag>1</Etag></Properties></Blob>"""


class Listed:
    """A server that lists `names` in pages of `page` and records the requests."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.page = 1000
        self.failures: list[tuple[int, str]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.endpoint = ""

    def list_s3(self, query: dict[str, str]) -> str:
        after = query.get("continuation-token", query.get("start-after", ""))
        found = sorted(n for n in self.names if n.startswith(query.get("prefix", "")) and n > after)
        more = len(found) > self.page
        rows = "".join(
            f"<Contents><Key>{quote(name, safe='/')}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;1&quot;</ETag><Size>1</Size></Contents>"
            for name in found[: self.page]
        )
        token = f"<NextContinuationToken>{found[self.page - 1]}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{rows}</ListBucketResult>"
        )


@contextmanager
def serve() -> Iterator[Listed]:
    list_server = Listed()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            list_server.requests.append((self.command, self.path, dict(self.headers)))
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            status, body = list_server.failures.pop(0) if list_server.failures else (200, "")
            if status == 200 and "list-type" in query:
                body = list_server.list_s3(query)
            elif status == 200 and query.get("comp") == "list":
                body = AZURE.format("".join(BLOB.format(name, 0) for name in list_server.names))
            elif status == 200 and self.command == "HEAD":
                status = 200 if unquote(parts.path).split("/", 2)[-1] in list_server.names else 404
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.send_header("ETag", '"1"')
            self.send_header("x-goog-generation", "1")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.do_GET
            raise AttributeError(name)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        list_server.endpoint = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield list_server
        server.shutdown()


@pytest.fixture
def list_server() -> Iterator[Listed]:
    with serve() as found:
        yield found


def make_storage(list_server: Listed, **options: Any) -> ObjectStorage:
    return stores.make_s3_storage(
        S3Options(
            **{
                "bucket": "b",
                "endpoint": list_server.endpoint,
                "access_key_id": Secret("id"),
                "secret_access_key": Secret("CANARY"),
                "retries": 0,
                **options,
            }
        )
    )


def gcs(list_server: Listed, **options: Any) -> ObjectStorage:
    return stores.make_gcs_storage(
        GcsOptions(
            **{"bucket": "b", "endpoint": list_server.endpoint, "anonymous": True, "retries": 0, **options}
        )
    )


def azure(list_server: Listed) -> ObjectStorage:
    return stores.make_azure_storage(
        AzureOptions(account="a", container="b", endpoint=list_server.endpoint, anonymous=True, retries=0)
    )


ODD = ["../up", "/leading", "notes//double", "notes/./here", "bad\x01control", "n" * 256]


@pytest.mark.parametrize("make", [make_storage, gcs])
def test_odd_names_are_counted_with_one_warning(
    make: Callable[[Listed], ObjectStorage], list_server: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    list_server.names = ["a", "folder/", "notes/b", "notes/c d+e%2F", "z", *ODD]
    kept = make(list_server)
    ours = ["a", "notes/b", "notes/c d+e%2F", "z"]
    with caplog.at_level(logging.WARNING, "llmcore"):
        assert kept.list_files() == ours
        assert asyncio.run(kept.alist_files()) == ours
        assert [info.key for info in kept.list_page()] == ours
        assert [info.key for info in asyncio.run(kept.alist_page("notes/", 1))] == ["notes/b"]
    (record,) = caplog.records
    assert "//b contains 6 names that cannot be a key and are not listed, such as '../up'" in record.message


def test_folder_markers_and_temporary_files_cause_no_warning(
    list_server: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    list_server.names = ["a", "folder/", "notes/deep/", ".llmcore-tmp-1", "notes/.llmcore-tmp-2"]
    with caplog.at_level(logging.WARNING, "llmcore"):
        assert make_storage(list_server).list_files() == ["a"]
    assert caplog.records == []


@pytest.mark.parametrize("prefix", ["", "deep/in"])
def test_all_pages_of_the_server_are_read(prefix: str, list_server: Listed) -> None:
    base = f"{prefix}/" if prefix else ""
    list_server.names = sorted([*(f"{base}{number:03}" for number in range(25)), f"{base}00//odd", "beside"])
    list_server.page = 4
    kept = make_storage(list_server, prefix=prefix)
    expected = [f"{number:03}" for number in range(25)] + ([] if prefix else ["beside"])
    assert kept.list_files() == expected
    assert [info.key for info in kept.list_page("", 7, "004")] == [f"{number:03}" for number in range(5, 12)]


def test_a_list_is_retried_after_a_server_error(list_server: Listed) -> None:
    list_server.names = ["a"]
    list_server.failures = [(503, "slow down"), (500, "")]
    assert make_storage(list_server, retries=2).list_files() == ["a"]
    list_server.failures = [(503, "slow down")] * 2
    with pytest.raises(StorageUnavailable) as caught:
        make_storage(list_server, retries=1).list_files()
    assert "503" in caught.value.message


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (
            (403, "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>"),
            StorageDenied,
            "no",
        ),
        (
            (404, "<Error><Code>NoSuchBucket</Code></Error>"),
            StorageError,
            "the bucket or container s3://b does not exist",
        ),
        ((200, "<html>a page of a portal"), StorageError, "the server.s list of objects is invalid"),
    ],
)
def test_the_error_of_a_list_has_the_reason(
    failure: tuple[int, str],
    kind: type[StorageError],
    words: str,
    list_server: Listed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    list_server.failures = [failure] * 2
    monkeypatch.setattr(Listed, "list_s3", lambda *_: failure[1])
    kept = make_storage(list_server)
    for call in (kept.list_files, lambda: asyncio.run(kept.alist_page())):
        with pytest.raises(kind, match=words) as caught:
            call()
        assert caught.value.__context__ is None
        assert "CANARY" not in str(caught.value)


def test_a_list_is_signed_with_the_keys_of_the_sdk(
    list_server: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_server.names = ["a"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY")
    assert make_storage(list_server, access_key_id=None, secret_access_key=None).list_files() == ["a"]
    assert "X-Amz-Credential=of-the-environment" in list_server.requests[-1][1]
    assert make_storage(list_server, anonymous=True).list_files() == ["a"]
    assert "X-Amz" not in list_server.requests[-1][1]


def test_an_anonymous_store_signs_nothing_and_requests_no_token(list_server: Listed) -> None:
    for kept in (gcs(list_server), make_storage(list_server, anonymous=True), azure(list_server)):
        list_server.requests.clear()
        kept.save("a.txt", b"1")
        asyncio.run(kept.asave("a.txt", b"1"))
        kept.load("a.txt")
        kept.list_files()
        list_server.names = ["a.txt"]
        kept.copy("a.txt", "b.txt")
        methods = {method for method, *_ in list_server.requests}
        assert {"GET", "PUT", "HEAD"} <= methods
        seen = {name.lower() for *_, headers in list_server.requests for name in headers}
        assert "authorization" not in seen


def test_azure_skips_markers_and_names_objects_that_the_sdk_cannot_list(list_server: Listed) -> None:
    list_server.names = ["empty", "folder/"]
    assert azure(list_server).list_files() == ["empty"]
    assert [info.key for info in asyncio.run(azure(list_server).alist_page())] == ["empty"]
    list_server.names = ["a", "a//b"]
    with pytest.raises(StorageError, match=r"SDK rejects.*a//b") as caught:
        azure(list_server).list_files()
    assert "prefix" in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("first", "second"), [("q", "q/r"), ("q/r", "q"), ("a/b/c/d", "a/b"), ("a/b", "a/b/c/d")]
)
def test_memory_refuses_a_key_and_its_folder_like_a_disk(first: str, second: str) -> None:
    kept = stores.make_memory_storage(MemoryOptions(prefix="deep"))
    kept.save(first, b"1")
    kept.save("source", b"2")
    calls: list[Callable[[], Any]] = [
        lambda: kept.save(second, b"2"),
        lambda: asyncio.run(kept.asave(second, b"2")),
        lambda: kept.save_stream(second, [b"2"]),
        lambda: kept.save_if_absent(second, b"2"),
        lambda: kept.copy("source", second),
        lambda: kept.move("source", second),
    ]
    for call in calls:
        with pytest.raises(
            StorageKeyError, match="is the folder of an existing file, or below an existing file"
        ) as caught:
            call()
        assert caught.value.__context__ is None
    assert kept.list_files() == sorted([first, "source"])
    assert kept.load(first) == b"1"
    kept.delete(first)
    kept.save(second, b"2")
    assert kept.list_files() == sorted([second, "source"])


def test_memory_refuses_one_of_two_concurrent_writers() -> None:
    kept = stores.make_memory_storage(MemoryOptions())

    async def race() -> list[Any]:
        saves = (kept.asave(key, b"1") for _ in range(20) for key in ("q", "q/r"))
        return await asyncio.gather(*saves, return_exceptions=True)

    results = asyncio.run(race())
    assert kept.list_files() in (["q"], ["q/r"])
    assert {type(result) for result in results} == {type(None), StorageKeyError}


VARIABLES = [
    ("https://127.0.0.1:9", "SSL_CERT_FILE", "/no/such/file.pem", "does not exist"),
    ("https://127.0.0.1:9", "SSL_CERT_DIR", "/no/such/folder", "is not a directory"),
    ("https://server.invalid", "HTTPS_PROXY", "htp://proxy:1", "HTTPS_PROXY must be the address of a proxy"),
    ("http://server.invalid", "http_proxy", "proxy:port", "http_proxy must be the address of a proxy"),
    ("http://server.invalid", "ALL_PROXY", "socks5://127.0.0.1:1", "ALL_PROXY names a SOCKS proxy"),
]


@pytest.mark.parametrize("name", ["s3", "gcs", "azure"])
@pytest.mark.parametrize("given", VARIABLES, ids=lambda given: f"{given[1]}={given[2]}")
def test_an_unusable_variable_is_named(
    name: str, given: tuple[str, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, variable, value, words = given
    for each in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    make: dict[str, Callable[[], object]] = {
        "s3": lambda: stores.make_s3_storage(S3Options(bucket="b", endpoint=endpoint, anonymous=True)),
        "gcs": lambda: stores.make_gcs_storage(GcsOptions(bucket="b", endpoint=endpoint, anonymous=True)),
        "azure": lambda: stores.make_azure_storage(
            AzureOptions(account="a", container="b", endpoint=endpoint, anonymous=True)
        ),
    }
    with pytest.raises(ConfigError, match=words) as caught:
        make[name]()
    assert (caught.value.code, caught.value.where) == ("LC203", variable)
