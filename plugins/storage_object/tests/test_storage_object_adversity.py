"""Servers that lose their answer, fail temporarily or hang. They are real servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from llmcore.errors import StorageChanged, StorageError, StorageExists, StorageReadOnly, StorageUnavailable
from llmcore.types import Duration, Secret
from llmcore_storage_object import stores
from llmcore_storage_object.plugin import S3Options
from llmcore_storage_object.provider import SigningStorage
from tests.kits.object_meddling import AFTER, Asked, Keeping, keeping, meddled


@pytest.fixture
def server() -> Iterator[Keeping]:
    with keeping() as server:
        yield server


def make_storage(endpoint: str, **options: Any) -> SigningStorage:
    known = {"access_key_id": Secret("any"), "secret_access_key": Secret("thing"), "timeout": Duration(20)}
    return stores.make_s3_storage(
        S3Options(**{"bucket": "b", "endpoint": endpoint, "retries": 3, **known, **options})
    )


@pytest.mark.parametrize("answer", ["drop after", AFTER + 500, AFTER + 503])
def test_a_save_whose_answer_is_lost_succeeds(server: Keeping, answer: str | int) -> None:
    kept = make_storage(server.endpoint)
    with meddled(server, answer):
        first = kept.save_if_absent("mine", b"one")
    assert kept.load_with_etag("mine") == (b"one", first)
    with meddled(server, answer):
        second = kept.save_if_match("mine", b"two", first)
    assert kept.load_with_etag("mine") == (b"two", second)
    with meddled(server, answer):
        third = asyncio.run(kept.asave_if_match("mine", b"three", second))
    assert kept.load_with_etag("mine") == (b"three", third)


@pytest.mark.parametrize("answer", ["drop", 500, 503, 429])
def test_a_request_that_was_not_executed_is_retried(server: Keeping, answer: str | int) -> None:
    kept = make_storage(server.endpoint)
    with meddled(server, answer, answer) as seen:
        etag = kept.save_if_absent("mine", b"one")
    assert seen.count("PUT /b/mine") == 3
    assert kept.load_with_etag("mine") == (b"one", etag)


def test_a_false_condition_is_reported_after_one_request(server: Keeping) -> None:
    kept = make_storage(server.endpoint)
    kept.save("mine", b"theirs")
    kept.save_if_absent("other", b"")
    with meddled(server) as seen:
        with pytest.raises(StorageExists):
            kept.save_if_absent("mine", b"ours")
        with pytest.raises(StorageChanged):
            kept.save_if_match("mine", b"ours", "wrong")
    assert seen.count("PUT /b/mine") == 2
    with meddled(server, 429), pytest.raises(StorageExists):
        kept.save_if_absent("mine", b"ours")
    assert kept.load("mine") == b"theirs"


def test_a_refused_retry_does_not_hide_that_the_first_request_was_executed(
    server: Keeping,
) -> None:
    kept = make_storage(server.endpoint)
    with meddled(server, AFTER + 500, 403):
        etag = kept.save_if_absent("mine", b"one")
    assert kept.load_with_etag("mine") == (b"one", etag)
    with meddled(server, 500, 403), pytest.raises(StorageError, match="is unknown"):
        kept.save_if_match("mine", b"two", etag)
    with meddled(server, 403), pytest.raises(StorageReadOnly):
        kept.save_if_match("mine", b"two", etag)


def test_an_unknown_outcome_is_reported(server: Keeping) -> None:
    kept = make_storage(server.endpoint, retries=1)
    kept.save_if_absent("other", b"")
    with meddled(server, "drop", "drop"), pytest.raises(StorageError, match="is unknown") as caught:
        kept.save_if_absent("mine", b"ours")
    assert type(caught.value) is StorageError
    assert caught.value.__context__ is None

    def by_another(asked: Asked) -> None:
        server.kept[asked.key] = {"ETag": '"9"'}, b"theirs"

    def replace_once(asked: Asked) -> str | int | None:
        if asked.command != "PUT" or "/b/mine" in server.kept:
            return None
        server.meddle = by_another
        return AFTER + 500

    server.meddle = replace_once
    with pytest.raises(StorageError, match="is unknown") as caught:
        kept.save_if_absent("mine", b"ours")
    assert not isinstance(caught.value, StorageExists), (
        "it had succeeded, and another writer replaced the file"
    )


@pytest.mark.parametrize("answer", [500, 502, 429, 503])
def test_a_temporary_failure_is_not_mistaken_for_folders(server: Keeping, answer: int) -> None:
    fails = answer in (429, 503)
    kept = make_storage(server.endpoint, retries=0)
    with meddled(server, answer, ending="/file"):
        if fails:
            with pytest.raises(StorageUnavailable):
                kept.save("first", b"1")
        else:
            kept.save("first", b"1")
    kept.save("a/b", b"1")
    kept.save("a", b"2")
    assert (kept.load("a"), kept.load("a/b")) == (b"2", b"1")
    assert kept.list_files() == ["a", "a/b"] + ([] if fails else ["first"])
    assert [name for name in server.kept if name not in ("/b/a", "/b/a/b", "/b/first")] == []


def test_a_server_that_fails_is_probed_again_later(server: Keeping) -> None:
    kept = make_storage(server.endpoint, retries=0)

    def unwell(asked: Asked) -> int | None:
        return 500 if asked.command == "PUT" and asked.key.endswith(("/file", "-beside")) else None

    server.meddle = unwell
    with pytest.raises(StorageUnavailable):
        kept.save("a", b"1")
    server.meddle = lambda _: None
    kept.save("a/b", b"1")
    kept.save("a", b"2")
    assert kept.list_files() == ["a", "a/b"]
