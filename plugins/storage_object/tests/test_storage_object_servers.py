"""Requests to real servers: signed URLs, multipart uploads, conditions, credentials, and unreachable servers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

import llmcore
from llmcore.errors import LLMCoreError, StorageDenied, StorageError, StorageKeyError, StorageUnavailable
from llmcore.types import Duration, Secret
from llmcore_storage_object import stores
from llmcore_storage_object.plugin import AzureOptions, GcsOptions, S3Options
from llmcore_storage_object.provider import ObjectStorage, SigningStorage
from tests.kits.object_servers import BUCKET, Server, moto, needs_moto, needs_rclone, rclone
from tests.kits.storage_hostile import list_hostile_keys

CANARY = "CANARY-c0ffee"


@pytest.fixture(scope="module")
def on_moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="module")
def on_rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


def make_storage(server: Server, **options: Any) -> SigningStorage:
    return stores.make_s3_storage(
        S3Options(
            **{
                "bucket": BUCKET,
                "endpoint": server.endpoint,
                "access_key_id": Secret(server.access_key_id),
                "secret_access_key": Secret(server.secret_access_key),
                "retries": 1,
                **options,
            }
        )
    )


def list_objects(server: Server) -> list[str]:
    """Return the names of all objects."""
    store = S3Store(
        BUCKET, endpoint=server.endpoint, access_key_id=server.access_key_id, region="us-east-1",
        secret_access_key=server.secret_access_key, client_options={"allow_http": True},
    )  # fmt: skip
    return sorted(meta["path"] for meta in obstore.list(store).collect())


@needs_moto
def test_a_signed_url_permits_get_and_put_of_that_file(on_moto: Server) -> None:
    kept = make_storage(on_moto, prefix="signed")
    kept.save("a.txt", b"secret")
    with urllib.request.urlopen(kept.sign_url("a.txt", 60)) as answer:  # noqa: S310 - our own server
        assert answer.read() == b"secret"
        assert answer.headers["Content-Type"] == "text/plain"
    put = urllib.request.Request(  # noqa: S310 - our own server
        kept.sign_url("b.txt", 60, "PUT"),
        data=b"by another",
        method="PUT",
        headers={"Content-Type": "text/plain"},
    )
    urllib.request.urlopen(put).close()  # noqa: S310
    assert kept.load("b.txt") == b"by another"
    assert "X-Amz-Expires=60&" in kept.sign_url("a.txt", 60)
    nan = float("nan")
    for wrong in (
        (0.0, "GET"),
        (0.9, "GET"),
        (604_801.0, "GET"),
        (nan, "GET"),
        (60.0, "DELETE"),
        (-1.0, "PUT"),
    ):
        with pytest.raises(StorageError, match="supports GET, PUT and HEAD") as caught:
            kept.sign_url("a.txt", *wrong)
        assert "7 days" in (caught.value.expected or "")
    for seconds in (1.0, 604_800.0):
        assert f"X-Amz-Expires={seconds:.0f}&" in kept.sign_url("a.txt", seconds)


@needs_moto
def test_a_large_file_is_a_multipart_upload(on_moto: Server) -> None:
    kept = make_storage(on_moto, prefix="parts")
    kept.save_stream("large.bin", (bytes([number]) * 1_000_000 for number in range(17)))
    info = kept.get_file_info("large.bin")
    assert info.size_bytes == 17_000_000
    assert info.etag is not None
    assert info.etag.endswith("-4"), "S3 tells so how many parts there were: 5 MiB each"
    assert b"".join(kept.load_stream("large.bin", 4_999_999, 5_000_001)) == b"\4\5"
    kept.save("small.bin", b"x" * 6_000_000)
    assert kept.load("small.bin") == b"x" * 6_000_000


@needs_moto
def test_the_prefix_separates_applications_and_probes_are_deleted(on_moto: Server) -> None:
    one, other = make_storage(on_moto, prefix="/apart/one/"), make_storage(on_moto, prefix="apart/one-more")
    one.save("a", b"1")
    other.save("a", b"2")
    one.save_if_absent("b", b"1")
    assert (one.load("a"), other.load("a")) == (b"1", b"2")
    assert (one.list_files(), other.list_files()) == (["a", "b"], ["a"])
    ours = [name for name in list_objects(on_moto) if name.startswith("apart/")]
    assert ours == ["apart/one-more/a", "apart/one/a", "apart/one/b"]


@needs_rclone
def test_a_server_that_ignores_conditions_and_has_folders_is_detected(on_rclone: Server) -> None:
    kept = make_storage(on_rclone, prefix="found-out")
    kept.save("under/file", b"1")
    calls: list[Callable[[], Any]] = [
        lambda: kept.save("under", b"2"),
        lambda: kept.save("under/file/below", b"2"),
        lambda: kept.save_stream("under", [b"2"]),
        lambda: kept.copy("under/file", "under"),
        lambda: kept.move("under/file", "under"),
    ]
    for call in calls:
        with pytest.raises(StorageKeyError, match="stores files in folders"):
            call()
    assert kept.load("under/file") == b"1"
    with pytest.raises(StorageError, match="ignores the conditions") as caught:
        kept.save_if_match("under/file", b"2", "etag")
    assert caught.value.fix
    assert [name for name in list_objects(on_rclone) if name.startswith("found-out/")] == [
        "found-out/under/file"
    ]


@needs_moto
def test_no_hostile_key_leaves_the_prefix_or_shares_an_object(on_moto: Server) -> None:
    kept, beside = make_storage(on_moto, prefix="hostile/inside"), make_storage(on_moto, prefix="hostile")
    beside.save("secret", b"not yours")
    before = set(list_objects(on_moto))
    accepted = []
    for key in list_hostile_keys():
        try:
            kept.save(key, key.encode("utf-8", "surrogatepass"))
        except StorageKeyError:
            for call in (kept.load, kept.exists, kept.delete, kept.get_file_info):
                with pytest.raises(StorageKeyError):
                    call(key)
        else:
            accepted.append(key)
    assert 100 < len(accepted) < 1500
    assert kept.list_files() == sorted(accepted)
    assert all(kept.load(key) == key.encode() for key in accepted[::7])
    new = set(list_objects(on_moto)) - before
    assert new == {f"hostile/inside/{key}" for key in accepted}


def _check_failures(kept: ObjectStorage) -> Iterator[StorageError]:
    calls: list[Callable[[], Any]] = [
        lambda: kept.save("a", b"1"),
        lambda: kept.load("a"),
        lambda: kept.exists("a"),
        kept.list_files,
        kept.list_page,
        lambda: kept.delete("a"),
        lambda: kept.save_stream("a", [b"1"]),
        lambda: list(kept.load_stream("a")),
        lambda: kept.save_if_absent("a", b"1"),
        lambda: asyncio.run(kept.aload("a")),
    ]
    for call in calls:
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        yield caught.value


@needs_rclone
def test_refused_credentials_are_an_error_that_does_not_contain_them(on_rclone: Server) -> None:
    kept = make_storage(
        on_rclone, access_key_id=Secret(CANARY + "-id"), secret_access_key=Secret(CANARY + "-secret")
    )
    for error in _check_failures(kept):
        assert isinstance(error, StorageDenied)
        assert "rejects these credentials" in error.message
        assert CANARY not in str(error)
    assert CANARY not in repr(kept) + repr(vars(kept)) + repr(vars(kept._bucket))


@needs_moto
@needs_rclone
def test_a_missing_bucket_is_an_error(on_moto: Server, on_rclone: Server) -> None:
    for server in (on_moto, on_rclone):
        kept = make_storage(server, bucket="no-such-bucket")
        for call in _list_calls(kept):
            with pytest.raises(
                StorageError, match="the bucket or container s3://no-such-bucket does not exist"
            ) as caught:
                call()
            assert type(caught.value) is StorageError
            assert caught.value.__context__ is None


def _list_calls(kept: ObjectStorage) -> list[Callable[[], Any]]:
    return [
        lambda: kept.exists("a"),
        lambda: kept.get_file_info("a"),
        lambda: kept.delete("a"),
        lambda: kept.copy("a", "b"),
        lambda: list(kept.load_stream("a", 1, 1)),
        lambda: asyncio.run(kept.aexists("a")),
        lambda: kept.load("a"),
        kept.list_files,
        lambda: kept.save("a", b"1"),
        lambda: kept.save_stream("a", [b"1"]),
        lambda: kept.save_if_absent("a", b"1"),
    ]


def test_an_unreachable_server_is_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{free.getsockname()[1]}", "any", CANARY)
    for error in _check_failures(make_storage(server, retries=0)):
        assert isinstance(error, StorageUnavailable)
        assert "the object store failed" in error.message
        assert error.fix
        assert CANARY not in str(error)


def test_a_server_that_does_not_answer_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kept = make_storage(
            Server(f"http://127.0.0.1:{silent.getsockname()[1]}", "any", "thing"),
            retries=0,
            timeout=Duration(0.3),
        )
        with pytest.raises(StorageUnavailable, match="the object store failed"):
            kept.load("a")
        with pytest.raises(StorageUnavailable, match="the object store failed"):
            asyncio.run(kept.asave("a", b"1"))


@needs_moto
def test_the_event_loop_runs_while_a_call_waits(on_moto: Server) -> None:
    kept = make_storage(on_moto, prefix="loop")
    before = threading.active_count()

    async def main() -> int:
        await asyncio.gather(*(kept.asave(f"{number}", b"1") for number in range(40)))
        loaded = await asyncio.gather(*(kept.aload(f"{number}") for number in range(40)))
        assert loaded == [b"1"] * 40
        return threading.active_count()

    assert asyncio.run(main()) == before, "no call has taken a thread of Python's"


FORK = """
import os, sys
from llmcore_storage_object import stores
from llmcore_storage_object.plugin import MemoryOptions
from llmcore.errors import StorageError
kept = stores.make_memory_storage(MemoryOptions())
kept.save("a", b"1")
if os.fork() == 0:
    try:
        stores.make_memory_storage(MemoryOptions()).load("a")
    except StorageError as error:
        print(error.message, error.fix, sep="; ", flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_process_gets_an_error_instead_of_hanging() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert "before this process was forked" in done.stdout, done.stderr
    assert 'set_start_method("spawn")' in done.stdout


def test_inconsistent_options_are_a_configuration_error() -> None:
    with pytest.raises(LLMCoreError) as caught:
        stores.make_gcs_storage(GcsOptions(bucket="b", service_account_key=Secret(f"not json {CANARY}")))
    assert CANARY not in str(caught.value)
    assert caught.value.where == "storage.gcs"


def test_every_provider_is_built_from_its_options_without_the_network() -> None:
    account = {"type": "service_account", "gcs_base_url": "http://127.0.0.1:1", "disable_oauth": True,
               "client_email": "", "private_key": "", "private_key_id": ""}  # fmt: skip
    for kept in (
        stores.make_gcs_storage(GcsOptions(bucket="b", service_account_key=Secret(json.dumps(account)))),
        stores.make_azure_storage(AzureOptions(account="a", container="c", access_key=Secret("c2VjcmV0"))),
        stores.make_azure_storage(
            AzureOptions(account="a", container="c", sas_token=Secret("sv=2024&sig=abc"))
        ),
        stores.make_s3_storage(S3Options(bucket="b", anonymous=True)),
    ):
        assert isinstance(kept, SigningStorage)
        with pytest.raises(StorageKeyError):
            kept.save("../outside", b"")


def test_the_host_reports_missing_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with pytest.raises(LLMCoreError, match="bucket") as caught:
        llmcore.load({"storage": {"provider": "s3"}}).storage.load("a")
    assert caught.value.fix
