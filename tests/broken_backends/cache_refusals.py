"""Caches whose server refuses one operation, good and broken on purpose; test_conformance_refusals.py runs this file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pytest

from llmcore.errors import CacheError, CacheUnavailable
from llmcore_testing.conformance import CacheConformance

REFUSED = "the user may not run this command"


class Server:
    """Correct, with leases and a diagnosis. *refused* is the operation that its server refuses."""

    def __init__(self, owner: Any = None, refused: str | None = None) -> None:
        self.entries: dict[str, tuple[bytes, float | None]] = {} if owner is None else owner.entries
        self.leases: dict[str, tuple[str, float]] = {} if owner is None else owner.leases
        self.lock = threading.RLock() if owner is None else owner.lock
        self.refused = refused

    def ask(self, operation: str) -> None:
        if operation == self.refused:
            raise CacheError(REFUSED)

    def read(self, key: str) -> bytes | None:
        value, ends = self.entries.get(key, (None, None))
        return None if ends is not None and ends <= time.monotonic() else value

    def get(self, key: str) -> bytes | None:
        self.ask("get")
        return self.read(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.ask("set")
        self.entries[key] = (value, None if ttl is None else time.monotonic() + ttl)

    def delete(self, key: str) -> bool:
        self.ask("delete")
        with self.lock:
            there = self.read(key) is not None
            self.entries.pop(key, None)
            return there

    def clear(self) -> None:
        self.ask("clear")
        self.entries.clear()

    def keys(self) -> Iterator[str]:
        self.ask("keys")
        yield from [key for key in list(self.entries) if self.read(key) is not None]

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.ask("get_many")
        return {key: value for key in keys if (value := self.read(key)) is not None}

    def delete_matching(self, pattern: str) -> int:
        self.ask("delete_matching")
        return sum(self.delete(key) for key in list(self.entries) if key.startswith(pattern.rstrip("*")))

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        self.ask("acquire")
        with self.lock:
            has, until = self.leases.get(key, (holder, 0.0))
            if has != holder and until > time.monotonic():
                return False
            self.leases[key] = holder, time.monotonic() + ttl
            return True

    def release(self, key: str, holder: str) -> None:
        with self.lock:
            if self.leases.get(key, ("", 0))[0] == holder:
                del self.leases[key]

    def unavailable(self) -> dict[str, str]:
        return {} if self.refused is None else {self.refused: REFUSED}


class FallsBack(Server):
    """Correct: takes a refused lease in another way, and says so in `unavailable`."""

    def ask(self, operation: str) -> None:
        if operation != "acquire":
            super().ask(operation)


class ReadsAreMisses(Server):
    """ASKBOT/askbot-devel#307, Qwant/idunn#34: `get` returns None if the server refuses it, so every call is a miss."""

    def get(self, key: str) -> bytes | None:
        try:
            return super().get(key)
        except CacheError:
            return None


class ReadsAreMissesAfterTheFirst(Server):
    """Reports a failure once, and then counts as broken until a `set` succeeds: a `get` before that is a miss."""

    reported = False

    def get(self, key: str) -> bytes | None:
        if self.refused == "get" and self.reported:
            return None
        self.reported = True
        return super().get(key)


class BatchesAreMisses(Server):
    """sebleier/django-redis-cache#5: errors become default values."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {} if self.refused == "get_many" else super().get_many(keys)


class WritesAreDropped(Server):
    """BerriAI/litellm#34299: the errors of writes are swallowed."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if self.refused != "set":
            super().set(key, value, ttl)


class ClearsNothing(Server):
    """Returns from a refused `clear`: what an administrator wanted to be gone is served."""

    def clear(self) -> None:
        if self.refused != "clear":
            super().clear()


class ListsNothing(Server):
    """A refused SCAN looks like an empty cache."""

    def keys(self) -> Iterator[str]:
        return iter(()) if self.refused == "keys" else super().keys()


class MatchesNothing(Server):
    """A refused SCAN looks like a pattern that matches no key."""

    def delete_matching(self, pattern: str) -> int:
        return 0 if self.refused == "delete_matching" else super().delete_matching(pattern)


class DeletesNothing(Server):
    """A refused `delete` looks like a key that is not there."""

    def delete(self, key: str) -> bool:
        return False if self.refused == "delete" else super().delete(key)


class LeasesFailOpen(Server):
    """KanishJebaMathewM/Truxify#6003: continues without the lock if the server refuses it."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        return True if self.refused == "acquire" else super().acquire(key, holder, ttl)


class LeasesLookTaken(Server):
    """BerriAI/litellm#36636: a refused lock is reported as one that another process holds, so everybody waits."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        return False if self.refused == "acquire" else super().acquire(key, holder, ttl)


class RefusalsAreOutages(Server):
    """One refused operation counts as an unreachable server, which turns the whole cache off."""

    def ask(self, operation: str) -> None:
        if operation == self.refused:
            raise CacheUnavailable(REFUSED)


class RefusalsAreForeign(Server):
    """Lets the exception of its client out."""

    def ask(self, operation: str) -> None:
        if operation == self.refused:
            raise PermissionError(REFUSED)


class RefusalsAreChained(Server):
    """Chains the exception of its client, which may hold the key."""

    def ask(self, operation: str) -> None:
        if operation == self.refused:
            self.refuse()

    def refuse(self) -> NoReturn:
        raise CacheError(REFUSED) from PermissionError(REFUSED)


class RefusalsStopTheRest(Server):
    """Once an operation was refused, refuses every other one."""

    stopped = False

    def ask(self, operation: str) -> None:
        if operation == self.refused:
            self.stopped = True
        if self.stopped:
            raise CacheError(REFUSED)


class DiagnosisIsEmpty(Server):
    """Reports every operation as available."""

    def unavailable(self) -> dict[str, str]:
        return {}


class DiagnosisNamesEverything(Server):
    """Names every operation as soon as one is refused."""

    def unavailable(self) -> dict[str, str]:
        return dict.fromkeys(("get", "set", "delete", "acquire"), REFUSED) if self.refused else {}


OPERATIONS = ("get", "set", "delete", "clear", "keys", "get_many", "delete_matching", "acquire")


class Kit(CacheConformance):
    lacks = ("version", "watch")
    backend: type = Server

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()

    @pytest.fixture
    def restricted(self, provider: Any) -> Any:
        return {operation: self.backend(provider, operation) for operation in OPERATIONS}


class TestServer(Kit):
    """Correct."""


class TestFallsBack(Kit):
    backend = FallsBack


class TestNamesNoOperation(Kit):
    @pytest.fixture
    def restricted(self, provider: Any) -> Any:
        return {"GET": Server(provider, "get")}


for _backend in (
    ReadsAreMisses, ReadsAreMissesAfterTheFirst, BatchesAreMisses, WritesAreDropped, ClearsNothing, ListsNothing,
    MatchesNothing, DeletesNothing, LeasesFailOpen, LeasesLookTaken, RefusalsAreOutages, RefusalsAreForeign,
    RefusalsAreChained, RefusalsStopTheRest, DiagnosisIsEmpty, DiagnosisNamesEverything,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
