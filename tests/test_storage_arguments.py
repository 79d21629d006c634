"""What a storage's client is given is checked before anything is done, whatever the backend."""

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
from tests.kit_storage_abilities import AbleInBoth
from tests.kit_storage_backends import AsyncMemory, Memory


class NoOptions:
    def options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return {}


def client(kind: type) -> StorageClient:
    backend = Backend("storage", Provider(name=kind.__name__.lower(), create=lambda _: kind()), NoOptions())
    return StorageClient(lambda: backend)


@pytest.fixture(params=(Memory, AsyncMemory, AbleInBoth), ids=lambda kind: kind.__name__)
def storage(request: pytest.FixtureRequest) -> StorageClient:
    return client(request.param)


def test_what_an_argument_cannot_be_is_said_before_anything_is_done(storage: StorageClient) -> None:
    half: Any = "half \ud800"
    wrong: Any = 5
    none: Any = None

    async def pieces() -> AsyncIterator[bytes]:
        yield b"1"

    one_at_a_time: Any = pieces()
    storage.save("raw", b"1")
    faults: list[tuple[Callable[[], object], str]] = [
        (lambda: storage.save("new", half), "cannot be written as UTF-8: '.ud800' at 5 is half a character"),
        (lambda: storage.save_text("new", half), "cannot be written as UTF-8"),
        (lambda: storage.save_if_absent("new", half), "cannot be written as UTF-8"),
        (lambda: storage.save_if_match("raw", half, "etag"), "cannot be written as UTF-8"),
        (lambda: storage.save_if_match("raw", "", none), "etag is text, got NoneType"),
        (lambda: storage.save_if_match("new", "", none), "etag is text, got NoneType"),
        (lambda: storage.save_if_match("raw", "", wrong), "etag is text, got int"),
        (lambda: storage.glob(none), "pattern is text, got NoneType"),
        (lambda: storage.glob("*", after=none), "after is text, got NoneType"),
        (lambda: storage.glob("*", limit=-1), "no number of keys: -1"),
        (lambda: storage.glob("*", limit=half), "no number of keys: 'half"),
        (lambda: storage.list_files(none), "not a key: None"),
        (lambda: storage.list_page(none), "not a key: None"),
        (lambda: storage.list_page("", "3"), "a page has at least one file, not this: '3'"),  # type: ignore[arg-type]
        (lambda: storage.list_page("", 3, none), "after is text, got NoneType"),
        (lambda: list(storage.load_stream("raw", "1")), "no position in a file: '1'"),  # type: ignore[arg-type]
        (lambda: list(storage.load_stream("raw", 0, 1.5)), "no position in a file: 1.5"),  # type: ignore[arg-type]
        (lambda: storage.info(wrong), "keys are several, got int"),
        (lambda: storage.info("raw"), "keys are several, got str"),
        (lambda: storage.load_json("raw", wrong), "nothing can be read as 5"),
        (lambda: storage.save_stream("new", one_at_a_time), "is an asynchronous stream"),
    ]
    for call, said in faults:
        with pytest.raises(StorageError, match=said) as caught:
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
def test_a_number_that_json_does_not_have_is_refused_and_never_kept_as_null(number: float) -> None:
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
        assert storage.load_json("good") == json.loads(json.dumps(build(1.5), default=_as_json))
    assert storage.list_files() == ["good"]
    storage.save_json("good", ["null", None, "nan", {"nan": "inf"}])
    assert storage.load_json("good") == ["null", None, "nan", {"nan": "inf"}]


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, set) else dataclasses.asdict(value)


def test_a_pattern_is_no_prefix_and_the_error_names_what_takes_one(storage: StorageClient) -> None:
    for ask in (storage.list_files, storage.list_page):
        with pytest.raises(StorageKeyError) as refused:
            ask("a/*.json")
        assert refused.value.fix == "glob('a/*.json')"
