"""Copies and moves fail with the same errors as a save to the target."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmcore.errors import StorageKeyError, StorageNotFound, StorageReadOnly
from llmcore.types import Secret
from llmcore_storage_object import stores
from llmcore_storage_object.plugin import S3Options
from llmcore_storage_object.provider import SigningStorage
from tests.kits.object_meddling import Asked, Keeping, keeping
from tests.kits.object_servers import BUCKET, Server, moto, needs_moto, needs_rclone, rclone


@pytest.fixture(scope="module")
def on_moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="module")
def on_rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Keeping]:
    with keeping() as server:
        yield server


def storage(server: Server, **options: Any) -> SigningStorage:
    return stores.make_s3_storage(
        S3Options(
            bucket=BUCKET, endpoint=server.endpoint, access_key_id=Secret(server.access_key_id),
            secret_access_key=Secret(server.secret_access_key), retries=1, **options,
        )
    )  # fmt: skip


def make_storage(server: Keeping) -> SigningStorage:
    return storage(Server(server.endpoint, "any", "thing"))


def both(kept: SigningStorage, source: str, target: str) -> Iterator[Callable[[], None]]:
    yield lambda: kept.copy(source, target)
    yield lambda: kept.move(source, target)
    yield lambda: asyncio.run(kept.acopy(source, target))
    yield lambda: asyncio.run(kept.amove(source, target))


def test_a_copy_without_write_permission_is_read_only(server: Keeping) -> None:
    kept = make_storage(server)
    kept.save("a", b"1")
    server.meddle = lambda asked: 403 if asked.command == "PUT" and asked.key.endswith("/b") else None
    for call in both(kept, "a", "b"):
        with pytest.raises(StorageReadOnly, match="cannot be written"):
            call()
    assert kept.load("a") == b"1"


def test_a_move_without_delete_permission_is_an_error(server: Keeping) -> None:
    kept = make_storage(server)
    kept.save("a", b"1")
    server.meddle = lambda asked: 403 if asked.command == "DELETE" and asked.key.endswith("/a") else None
    with pytest.raises(StorageReadOnly):
        kept.move("a", "b")


def test_a_missing_source_is_not_found(server: Keeping) -> None:
    kept = make_storage(server)
    for call in both(kept, "a", "b"):
        with pytest.raises(StorageNotFound, match="'a'"):
            call()
    kept.save("a", b"1")

    def answer_404(asked: Asked) -> int | None:
        return 404 if "x-amz-copy-source" in asked.headers else None

    server.meddle = answer_404
    for call in both(kept, "a", "b"):
        with pytest.raises(StorageNotFound, match="'a'"):
            call()


@needs_rclone
def test_a_target_below_a_file_is_refused(on_rclone: Server) -> None:
    kept = storage(on_rclone, prefix="below")
    kept.save("file", b"1")
    kept.save("other", b"2")
    for call in both(kept, "other", "file/below"):
        with pytest.raises(StorageKeyError, match="stores files in folders"):
            call()
    assert (kept.load("file"), kept.load("other")) == (b"1", b"2")


@needs_moto
@pytest.mark.parametrize("size", [0, 11, 6 << 20])
def test_the_content_type_follows_the_extension_of_the_target(on_moto: Server, size: int) -> None:
    kept, data = storage(on_moto, prefix=f"types{size}"), b"<" * size

    def load_signed(key: str) -> str:
        with urllib.request.urlopen(kept.sign_url(key, 60)) as answer:  # noqa: S310 - our own server
            assert answer.read() == data
            return str(answer.headers["Content-Type"])

    kept.save("page.tmp", data)
    kept.copy("page.tmp", "copied.html")
    asyncio.run(kept.acopy("page.tmp", "acopied.css"))
    kept.move("copied.html", "moved.txt")
    asyncio.run(kept.amove("page.tmp", "amoved.html"))
    kept.copy("amoved.html", "same.html")
    kept.copy("same.html", "unknown")
    expected = {
        "acopied.css": "text/css",
        "amoved.html": "text/html",
        "moved.txt": "text/plain",
        "same.html": "text/html",
    }
    assert {key: load_signed(key) for key in kept.list_files()} == expected | {
        "unknown": "application/octet-stream"
    }
    listed = {info.key: info.content_type for info in kept.list_page()}
    assert (
        listed
        == {key: kept.get_file_info(key).content_type for key in listed}
        == expected | {"unknown": None}
    )


@needs_moto
def test_a_missing_source_does_not_change_a_target_of_another_type(on_moto: Server) -> None:
    kept = storage(on_moto, prefix="missing")
    kept.save("b.html", b"1")
    for call in both(kept, "a", "b.html"):
        with pytest.raises(StorageNotFound, match="'a'"):
            call()
    for call in both(kept, "../a", "b.html"):
        with pytest.raises(StorageKeyError):
            call()
    assert (kept.load("b.html"), kept.list_files()) == (b"1", ["b.html"])
