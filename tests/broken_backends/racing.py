"""Backends whose locks hold in one instance or in one process only; test_conformance_racing.py runs this file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.errors import StorageExists, StorageNotFound, StorageUnavailable
from llmcore.support.ledger_values import Refusal, Reserved, ReserveRequest
from llmcore.support.storage_keys import parse
from llmcore_testing import CacheConformance, StorageConformance
from tests.broken_backends.cache_abilities_base import Able as AbleCache
from tests.broken_backends.ledger import Sync, make_kit
from tests.broken_backends.storage_abilities_base import Place

PATIENCE_S = 30.0
_of_the_process = threading.Lock()


def meet(folder: Path, who: object) -> None:
    """Wait until another one is here too: both have read by then, and neither has written. Later calls do not wait."""
    mine = folder / f"here-{who}"
    if mine.exists():
        return
    mine.touch()
    ends = time.monotonic() + PATIENCE_S
    while len(list(folder.glob("here-*"))) < 2 and time.monotonic() < ends:
        time.sleep(0.001)


class OneFile:
    """Correct; keeps everything in one file, which each write replaces under a lock of the system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.of_the_instance = threading.Lock()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def read(self) -> dict[str, bytes]:
        with contextlib.suppress(FileNotFoundError), (self.folder / "all").open("rb") as file:
            return msgspec.msgpack.decode(file.read(), type=dict[str, bytes])
        return {}

    def wait(self) -> None:
        """Wait between reading and writing, in the broken ones."""

    def change(self, key: str, data: bytes | None) -> bool:
        with self.hold():
            found = self.read()
            self.wait()
            was_there = found.pop(key, None) is not None
            if data is not None:
                found[key] = data
            new = self.folder / f"new-{os.getpid()}-{id(self)}"
            new.write_bytes(msgspec.msgpack.encode(found))
            new.replace(self.folder / "all")
        return was_there


class HeldByAnInstance(OneFile):
    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        with self.of_the_instance:
            yield

    def wait(self) -> None:
        meet(self.folder, id(self))


class HeldByAProcess(OneFile):
    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        with _of_the_process:
            yield

    def wait(self) -> None:
        meet(self.folder, os.getpid())


class FilesInOneFile(OneFile):
    """Correct."""

    def save(self, key: str, data: bytes) -> None:
        parse(key)
        self.change(key, data)

    def load(self, key: str) -> bytes:
        if (data := self.read().get(key)) is None:
            raise StorageNotFound("nothing is stored under the key")
        return data

    def exists(self, key: str) -> bool:
        return key in self.read()

    def delete(self, key: str) -> bool:
        return self.change(key, None)

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key in self.read() if key.startswith(prefix))


class IndexHeldByAnInstance(FilesInOneFile, HeldByAnInstance):
    """Zoo-Code-Org/Zoo-Code#1231: an index is read, changed and replaced; a second writer's entries are lost."""


class IndexHeldByAProcess(FilesInOneFile, HeldByAProcess):
    """jgravelle/jdocmunch-mcp#28: the index is replaced without a lock that holds between processes."""


class OfOneProcess(FilesInOneFile):
    """Correct; remembers the process that created it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = os.getpid()

    def is_forked(self) -> bool:
        return os.getpid() != self.process


class RefusesForks(OfOneProcess):
    """Correct: raises an error in a forked process, whatever it is asked."""

    def read(self) -> dict[str, bytes]:
        if self.is_forked():
            raise StorageUnavailable("open the storage again after a fork")
        return super().read()


class DiesInForks(OfOneProcess):
    """Its library ends a forked process at the first call, which no kit can call a fault of the backend."""

    def read(self) -> dict[str, bytes]:
        if self.is_forked():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read()


class Contended(OfOneProcess):
    """Meets the other process in the first write."""

    def change(self, key: str, data: bytes | None) -> bool:
        meet(self.folder, os.getpid())
        if self.is_forked():
            self.lose()
        return super().change(key, data)

    def lose(self) -> None:
        """Fail, since the other process writes too."""


class RefusesInARace(Contended):
    """Tries the lock once, so a write fails if another process writes."""

    def lose(self) -> None:
        raise StorageUnavailable("another process writes")


class DiesInARace(Contended):
    def lose(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class ConditionHeldByAnInstance(Place):
    """Looks for the file and makes it under a lock that another instance does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.lookers: dict[str, set[int]] = {}
        self.looked = threading.Condition()

    def save_if_absent(self, key: str, data: bytes) -> str:
        with self.lock:
            if self.exists(key):
                raise StorageExists("something is stored")
            if key.startswith("race/"):
                with self.looked:
                    lookers = self.lookers.setdefault(key, set())
                    lookers.add(id(self))
                    self.looked.notify_all()
                    self.looked.wait_for(lambda: len(lookers) > 1, PATIENCE_S)
            self.save(key, data)
        return self.etag(data)

    def open_again(self) -> Place:
        other = type(self)()
        other.files, other.lookers, other.looked = self.files, self.lookers, self.looked
        return other


class EntriesInOneFile(OneFile):
    """Correct, without expiry, which no test here needs."""

    def get(self, key: str) -> bytes | None:
        return self.read().get(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:  # noqa: ARG002 - see above
        self.change(key, value)

    def delete(self, key: str) -> bool:
        return self.change(key, None)

    def clear(self) -> None:
        for key in self.read():
            self.change(key, None)


class EntriesHeldByAnInstance(EntriesInOneFile, HeldByAnInstance):
    """odysseus-dev/odysseus#1940: replacing a file atomically does not keep what another writer added."""


class EntriesHeldByAProcess(EntriesInOneFile, HeldByAProcess):
    """h0x91b/dev-3.0#153: two processes write one file, and the second one overwrites what the first one added."""


class LeasesHeldByAnInstance(AbleCache):
    """Compares and takes a lease under a lock that another instance does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.takers: dict[str, set[int]] = {}
        self.taken = threading.Condition()

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        with self.lock:
            if key in self.leases:
                return False
            with self.taken:
                takers = self.takers.setdefault(key, set())
                takers.add(id(self))
                self.taken.notify_all()
                self.taken.wait_for(lambda: len(takers) > 1, PATIENCE_S)
            self.leases[key] = holder, time.monotonic() + ttl
            return True

    def open_again(self) -> LeasesHeldByAnInstance:
        other = type(self)()
        other.entries, other.leases, other.takers, other.taken = (
            self.entries,
            self.leases,
            self.takers,
            self.taken,
        )
        return other


class BudgetHeldByAProcess(Sync):
    """BerriAI/litellm#34732: compares and reserves under a lock of the process, so two processes take the last part."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.folder = path.parent

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        (limit,) = request.limits
        with _of_the_process:
            with (self.folder / "lock").open("w") as file:  # so that both come to the last part
                fcntl.flock(file, fcntl.LOCK_EX)
                counters = self.inner.read_budgets([limit.scope], request.at, timeout_s)
                if limit.amount - sum(each.spent + each.reserved for each in counters) != request.maximum:
                    return super().reserve(request, timeout_s)
            meet(self.folder, os.getpid())
            loose = [limit._replace(refuses=False)]
            return super().reserve(msgspec.structs.replace(request, limits=loose), timeout_s)


class FileKit(StorageConformance):
    backend: Any = FilesInOneFile

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def provider(self, tmp_path: Path) -> Any:
        return self.backend() if issubclass(self.backend, Place) else self.backend(tmp_path)

    @pytest.fixture
    def twin(self, provider: Any, tmp_path: Path) -> Any:
        return provider.open_again() if isinstance(provider, Place) else self.backend(tmp_path)


class EntryKit(CacheConformance):
    backend: Any = EntriesInOneFile

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def provider(self, tmp_path: Path) -> Any:
        return self.backend() if issubclass(self.backend, AbleCache) else self.backend(tmp_path)

    @pytest.fixture
    def twin(self, provider: Any, tmp_path: Path) -> Any:
        return (
            provider.open_again() if isinstance(provider, LeasesHeldByAnInstance) else self.backend(tmp_path)
        )


for _kit, _backends in (
    (
        FileKit,
        (
            FilesInOneFile,
            IndexHeldByAnInstance,
            IndexHeldByAProcess,
            ConditionHeldByAnInstance,
            RefusesForks,
            DiesInForks,
            RefusesInARace,
            DiesInARace,
        ),
    ),
    (EntryKit, (EntriesInOneFile, EntriesHeldByAnInstance, EntriesHeldByAProcess, LeasesHeldByAnInstance)),
):
    for _backend in _backends:
        globals()[f"Test{_backend.__name__}"] = type(
            f"Test{_backend.__name__}", (_kit,), {"backend": _backend}
        )
TestBudgetHeldByAProcess = make_kit(BudgetHeldByAProcess)
