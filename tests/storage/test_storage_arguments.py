"""The storage client checks its arguments before it calls the backend."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmcore.calls.backend import Backend
from llmcore.errors import StorageError, StorageKeyError
from llmcore.hookspecs import Provider
from llmcore.storage import StorageClient
from tests.broken_backends.storage import AsyncMemory, Memory
from tests.broken_backends.storage_abilities import AbleInBoth


class NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return {}


def client(kind: type) -> StorageClient:
    backend = Backend("storage", Provider(name=kind.__name__.lower(), create=lambda _: kind()), NoOptions())
    return StorageClient(lambda: backend)


@pytest.fixture(params=(Memory, AsyncMemory, AbleInBoth), ids=lambda kind: kind.__name__)
def storage(request: pytest.FixtureRequest) -> StorageClient:
    return client(request.param)


def test_a_wrong_argument_is_refused_before_anything_is_done(storage: StorageClient) -> None:
    half: Any = "half \ud800"
    wrong: Any = 5
    none: Any = None

    async def pieces() -> AsyncIterator[bytes]:
        yield b"1"

    async_pieces: Any = pieces()
    storage.save("raw", b"1")
    faults: list[tuple[Callable[[], object], str]] = [
        (lambda: storage.save("new", half), "the text contains a lone surrogate U.D800 at index 5"),
        (lambda: storage.save_text("new", half), "contains a lone surrogate"),
        (lambda: storage.save_if_absent("new", half), "contains a lone surrogate"),
        (lambda: storage.save_if_match("raw", half, "etag"), "contains a lone surrogate"),
        (lambda: storage.save_if_match("raw", "", none), "etag must be text, got NoneType"),
        (lambda: storage.save_if_match("new", "", none), "etag must be text, got NoneType"),
        (lambda: storage.save_if_match("raw", "", wrong), "etag must be text, got int"),
        (lambda: storage.glob(none), "pattern must be text, got NoneType"),
        (lambda: storage.glob("*", after=none), "after must be text, got NoneType"),
        (lambda: storage.glob("*", limit=-1), "limit must be at least 0, got -1"),
        (lambda: storage.glob("*", limit=half), "limit must be at least 0, got 'half"),
        (lambda: storage.list_files(none), "key must be text, got None"),
        (lambda: storage.list_page(none), "key must be text, got None"),
        (lambda: storage.list_page("", "3"), "limit must be at least 1, got '3'"),  # type: ignore[arg-type]
        (lambda: storage.list_page("", 3, none), "after must be text, got NoneType"),
        (lambda: list(storage.load_stream("raw", "1")), "start must be at least 0, got '1'"),  # type: ignore[arg-type]
        (lambda: list(storage.load_stream("raw", 0, 1.5)), "stop must be at least 0, got 1.5"),  # type: ignore[arg-type]
        (lambda: storage.info(wrong), "keys must be a list of keys, got int"),
        (lambda: storage.info("raw"), "keys must be a list of keys, got str"),
        (lambda: storage.load_json("raw", wrong), "can be converted to, got 5"),
        (lambda: storage.save_stream("new", async_pieces), "must not be asynchronous in a blocking call"),
    ]
    for call, message in faults:
        with pytest.raises(StorageError, match=message) as caught:
            call()
        assert caught.value.__context__ is None
        assert caught.value.expected
    assert storage.list_files() == ["raw"]
    assert storage.load("raw") == b"1"


@dataclasses.dataclass
class Reading:
    values: tuple[float, ...]
    note: str | None = None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_refused_and_never_stored_as_null(number: float) -> None:
    storage = client(Memory)
    around: list[Callable[[float], Any]] = [
        lambda n: n,
        lambda n: [1, [2.5, {"deep": (None, n)}]],
        lambda n: {"a": None, "b": {n}, "large": 1 << 70},
        lambda n: [Reading((1.0, n))],
    ]
    for build in around:
        with pytest.raises(StorageError, match=f"JSON has no {number}") as caught:
            storage.save_json("new", build(number))
        assert caught.value.__context__ is None
        storage.save_json("good", build(1.5))
        assert storage.load_json("good") == json.loads(json.dumps(build(1.5), default=_convert))
    assert storage.list_files() == ["good"]
    storage.save_json("good", ["null", None, "nan", {"nan": "inf"}])
    assert storage.load_json("good") == ["null", None, "nan", {"nan": "inf"}]


def _convert(value: Any) -> Any:
    return list(value) if isinstance(value, set) else dataclasses.asdict(value)


def test_a_pattern_as_prefix_is_refused_and_the_error_names_glob(storage: StorageClient) -> None:
    for ask in (storage.list_files, storage.list_page):
        with pytest.raises(StorageKeyError) as refused:
            ask("a/*.json")
        assert refused.value.fix == "glob('a/*.json')"
