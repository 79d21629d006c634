"""The file cache is shared by objects, threads, forks and processes, and stays within its bounds."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.builtin.change_log import KEPT
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions
from llmcore.errors import CacheError, ConfigError
from llmcore.types import Size

MB = 10**6
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> Iterator[FileCache]:
    cache = open_cache(folder)
    yield cache
    cache.close()


def open_cache(folder: Path, *, size: int = 10**9, namespace: str = "default") -> FileCache:
    return FileCache(FileOptions(cache_dir=folder, max_size=Size(size), namespace=namespace))


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    header = (
        "import os, sys\n"
        "from llmcore.builtin.file_cache import FileCache\n"
        "from llmcore.builtin.options import FileOptions\n"
        "from llmcore.types import Size\n"
    )
    return subprocess.run(
        [sys.executable, "-c", header + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_next_process_can_read_the_entries(folder: Path) -> None:
    done = run("FileCache(FileOptions(cache_dir=sys.argv[1])).set('key', b'value', 3600)", str(folder))
    assert done.returncode == 0, done.stderr
    cache = open_cache(folder)
    assert cache.get("key") == b"value"
    cache.close()


def test_folder_and_files_are_private(cache: FileCache) -> None:
    cache.set("key", b"value")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()}
    assert modes == dict.fromkeys(("data.mdb", "lock.mdb", "boot.mark", "use.map"), 0o600)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_the_default_folder_is_in_the_user_s_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of the user"))
    cache = FileCache()
    if sys.platform == "linux":
        assert cache.folder == tmp_path / "of the user" / "llmcore"
    assert cache.folder.name == "llmcore"
    cache.close()


def test_two_objects_on_one_folder_share_the_entries(folder: Path) -> None:
    one, two = open_cache(folder), open_cache(folder / ".." / folder.name)
    one.set("key", b"value")
    assert two.get("key") == b"value"
    one.close()
    one.close()
    two.set("key", b"after the other was closed")
    assert two.get("key") == b"after the other was closed"
    two.close()
    with pytest.raises(CacheError, match="is closed"):
        two.get("key")
    again = open_cache(folder)
    assert again.get("key") == b"after the other was closed"
    again.close()


def test_a_folder_that_cannot_be_created_is_a_cache_error_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError) as caught:
        open_cache(tmp_path / "file" / "cache")
    assert "cannot use the folder" in caught.value.message
    assert caught.value.fix
    assert caught.value.__cause__ is caught.value.__context__ is None, "nothing foreign hangs on it"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no users to change to")
def test_a_folder_that_may_not_be_written_is_a_cache_error(open_folder: Path) -> None:
    folder = open_folder / "cache"
    folder.mkdir()
    folder.chmod(0o555)
    code = (
        "if os.geteuid() == 0: FileCache(FileOptions(cache_dir=sys.argv[2])).close(); os.setgid(65534); os.setuid(65534)\n"
        "from llmcore.errors import CacheError\n"
        "try: FileCache(FileOptions(cache_dir=sys.argv[1]))\n"
        "except CacheError as error: print(error)\n"
    )
    done = run(code, str(folder), str(folder.parent / "warm"))
    assert "Permission denied" in done.stdout, done.stderr
    assert "fix: llmcore config set cache.provider memory" in done.stdout


@pytest.mark.parametrize(("name", "value"), [("max_size", Size(1000)), ("namespace", ""), ("namespace", "a\0b"), ("namespace", "n" * 65)])  # fmt: skip
def test_an_option_out_of_bounds_is_refused_before_files_are_created(
    folder: Path, name: str, value: object
) -> None:
    options = {"cache_dir": str(folder), name: value}
    with pytest.raises(ConfigError, match="expected: 1") as caught:
        FileCache(FileOptions(**options))  # type: ignore[arg-type]
    assert name in str(caught.value.where)
    assert not folder.exists()


def test_the_map_grows_with_the_entries(folder: Path) -> None:
    cache = open_cache(folder, size=400 * MB)
    values = {f"key{i}": bytes([i]) * (5 * MB) for i in range(20)}
    for key, value in values.items():
        cache.set(key, value)
    assert (folder / "data.mdb").stat().st_size > 100 * MB
    assert all(cache.get(key) == value for key, value in values.items())
    cache.close()


def test_a_map_that_another_process_grew_can_be_read(cache: FileCache, folder: Path) -> None:
    cache.set("before", b"1")
    code = (
        "cache = FileCache(FileOptions(cache_dir=sys.argv[1]))\n"
        "for i in range(20): cache.set(f'key{i}', bytes([i]) * 5_000_000)\n"
    )
    done = run(code, str(folder))
    assert done.returncode == 0, done.stderr
    assert cache.get("key19") == bytes([19]) * 5_000_000
    cache.set("after", b"2")
    assert [cache.get("before"), cache.get("after")] == [b"1", b"2"]


@pytest.mark.parametrize("value_bytes", [0, 100, 1000, 3000, 40_000], ids=str)
def test_the_file_stays_within_its_size_and_keeps_the_newest(folder: Path, value_bytes: int) -> None:
    cache = open_cache(folder, size=2 * MB)
    count = min(6 * MB // (value_bytes + 50), 12_000)
    for i in range(count):
        cache.set(f"user:{i}", b"%d" % i + b"x" * value_bytes)
        if i % 500 == 0:
            assert (folder / "data.mdb").stat().st_size <= 2 * MB
    kept = [i for i in range(count) if cache.get(f"user:{i}") is not None]
    for i in kept:
        assert cache.get(f"user:{i}") == b"%d" % i + b"x" * value_bytes
    assert (folder / "data.mdb").stat().st_size <= 2 * MB
    newest = kept[-len(kept) // 3 :]
    if len(kept) < count:
        assert newest == list(range(count - len(newest), count)), (
            "the newest third of the entries must be complete"
        )
        assert len(kept) * (value_bytes + 50) > 0.4 * MB, "room was left unused"
    cache.close()


def test_expired_entries_are_evicted_first(folder: Path) -> None:
    now = 10**18
    options = FileOptions(cache_dir=folder, max_size=Size(2 * MB))
    cache = FileCache(options, clock=lambda: now)
    for i in range(200):
        cache.set(f"old and wanted {i}", b"x" * 1000)
    for i in range(350):
        cache.set(f"soon over {i}", b"x" * 1000, 10)
    now += 20 * 10**9
    for i in range(350):
        cache.set(f"new {i}", b"x" * 1000)
    assert sum(cache.get(f"old and wanted {i}") is not None for i in range(200)) == 200
    assert sum(cache.get(f"new {i}") is not None for i in range(350)) == 350
    cache.close()


def test_expired_entries_are_deleted_before_the_space_is_needed(folder: Path) -> None:
    now = 10**18
    cache = FileCache(FileOptions(cache_dir=folder, max_size=Size(100 * MB)), clock=lambda: now)
    for i in range(1000):
        cache.set(f"soon over {i}", b"x" * 100, 10)
        cache.set(f"stays {i}", b"x" * 100)
        assert cache.acquire(f"lease {i}", "me", 10)
    now += 20 * 10**9
    assert cache.acquire("of now", "me", 10)
    for i in range(4000):
        if i % 40 == 0:
            cache.set(f"{i} is long ".ljust(502, "x"), b"x", 10)  # the longest slot that there is
        before = cache.version()
        cache.set(f"new {i}", b"x" * 100, 3600)
        assert cache.version() == before + 1, "a memory tier in front would be emptied"
    slots = cache._store.read(lambda txn: txn.stat(cache._store._env.open_db())["entries"])
    assert slots <= 4000 + 1000 + 1 + 100 + 64 + KEPT, "an expired entry is still stored"
    assert sum(cache.get(f"stays {i}") is not None for i in range(1000)) == 1000
    assert sum(cache.get(f"new {i}") is not None for i in range(4000)) == 4000
    assert not cache.acquire("of now", "you", 10)
    cache.close()


def test_a_value_larger_than_a_quarter_of_the_cache_is_refused_and_no_entry_is_lost(folder: Path) -> None:
    cache = open_cache(folder, size=2 * MB)
    cache.set("small", b"1")
    with pytest.raises(CacheError, match=r"is too large for a file cache of 2,000,000 bytes"):
        cache.set("large", b"x" * (MB // 2 + 1))
    assert cache.get("small") == b"1"
    cache.close()


def test_large_values_can_be_stored_after_small_ones(folder: Path) -> None:
    cache = open_cache(folder, size=2 * MB)
    for i in range(3000):
        cache.set(f"small {i}", b"x" * (i % 900))
    for i in range(60):
        value = bytes([i]) * (100_000 + 6_000 * i)
        cache.set(f"large {i % 5}", value)
        assert cache.get(f"large {i % 5}") == value
    assert (folder / "data.mdb").stat().st_size <= 2 * MB
    cache.close()


def test_threads_read_and_write_while_the_map_grows(folder: Path) -> None:
    cache = open_cache(folder, size=400 * MB)
    cache.set("steady", b"x" * 1000)
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if (found := cache.get("steady")) != b"x" * 1000:
                wrong.append(found)

    def write(thread: int) -> None:
        try:
            for i in range(10):
                cache.set(f"{thread}:{i}", bytes([i]) * (3 * MB))
        except BaseException as error:  # noqa: BLE001 - it is the finding
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    assert all(cache.get(f"{t}:{i}") == bytes([i]) * (3 * MB) for t in range(4) for i in range(10))
    cache.close()


WORKER = """
folder, number = sys.argv[1:]
cache = FileCache(FileOptions(cache_dir=folder, max_size=Size(4_000_000)))
wrong = 0
for i in range(1500):
    key = f"shared:{i % 20}"
    cache.set(key, f"{key}|".encode() * (i % 50 + 1))
    found = cache.get(f"shared:{(i + 7) % 20}")
    wrong += found is not None and found != f"shared:{(i + 7) % 20}|".encode() * found.count(b"|")
    cache.set(f"{number}:{i}", b"x" * 2000)
print(wrong)
"""


def test_four_concurrent_processes_read_correct_values_and_stay_within_the_size(folder: Path) -> None:
    header = "import sys\nfrom llmcore.builtin.file_cache import FileCache\nfrom llmcore.builtin.options import FileOptions\nfrom llmcore.types import Size\n"
    command = [sys.executable, "-c", header + WORKER, str(folder)]
    workers = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    for worker in workers:
        out, err = worker.communicate(timeout=100)
        assert (worker.returncode, out.strip()) == (0, "0"), err
    assert (folder / "data.mdb").stat().st_size <= 4 * MB


@needs_fork
def test_parent_and_child_can_use_the_cache_after_a_fork(cache: FileCache) -> None:
    cache.set("key", b"of before")
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - another process
            signal.alarm(60)
            ok = cache.get("key") == b"of before"
            for i in range(50):
                cache.set(f"child {number}:{i}", b"x")
            ok = ok and cache.get(f"child {number}:49") == b"x"
            os._exit(0 if ok else 1)
        children.append(pid)
        for i in range(50):
            cache.set(f"parent {number}:{i}", b"y")
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    for number in range(3):
        assert cache.get(f"child {number}:49") == b"x"
        assert cache.get(f"parent {number}:49") == b"y"


@needs_fork
def test_a_child_that_was_forked_while_threads_used_the_cache_can_use_it(folder: Path) -> None:
    code = """
import signal, threading
cache = FileCache(FileOptions(cache_dir=sys.argv[1]))
cache.set("key", b"value")
stop = threading.Event()
def work():
    while not stop.is_set():
        cache.get("key"); cache.set("other", b"x" * 3000)
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
bad = 0
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        cache.set("child", b"1")
        os._exit(0 if cache.get("key") == b"value" and cache.get("child") == b"1" else 1)
    bad += os.waitpid(pid, 0)[1] != 0
stop.set()
for thread in threads: thread.join()
print(bad, cache.get("key"))
"""
    done = run(code, str(folder))
    assert done.stdout.strip() == "0 b'value'", done.stderr


def test_keys_longer_than_the_limit_of_lmdb_are_distinguished_and_listed(cache: FileCache) -> None:
    keys = ["k" * 600, "k" * 601, "\u6587" * 512, "k" * 599 + "l"]
    for key in keys:
        cache.set(key, key.encode())
    assert [cache.get(key) for key in keys] == [key.encode() for key in keys]
    assert sorted(cache.keys()) == sorted(keys)


def test_reading_leaves_no_writes(cache: FileCache) -> None:
    cache.set("key", b"value", 3600)
    before = (cache.folder / "data.mdb").read_bytes()
    for _ in range(10):
        cache.get("key")
        cache.get("nothing")
    assert list(cache.keys()) == ["key"]
    assert cache.delete("nothing") is False
    assert (cache.folder / "data.mdb").read_bytes() == before
