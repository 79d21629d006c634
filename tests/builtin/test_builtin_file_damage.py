"""The file cache survives killed processes, truncated and damaged files and power cuts, with misses at worst."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.builtin.crash_mark import CrashMark, get_boot_id
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions

HEADER = """
import faulthandler, logging, os, sys
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
cache = FileCache(FileOptions(cache_dir=sys.argv[1]))
"""
READER = (
    HEADER
    + """
found = [cache.get(f"key{i}") for i in range(300)]
wrong = [i for i, value in enumerate(found) if value not in (None, b"%d:" % i * 200)]
cache.set("key", b"goes on")
print(len(wrong), sum(value is not None for value in found), cache.get("key") == b"goes on")
"""
)
WRITER = (
    HEADER
    + """
start = int(sys.argv[2])
for i in range(start, start + 100_000):
    cache.set(f"key{i}", b"%d:" % i * (i % 300 + 1), 3600)
    print(f"+{i}", flush=True)
    if i % 3 == 2:
        print(f"?{i - 1}", flush=True)  # from here on it may be there or not
        cache.delete(f"key{i - 1}")
        print(f"-{i - 1}", flush=True)
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def full_folder(folder: Path) -> Path:
    """A folder with a closed cache that contains key0 to key299."""
    cache = open_cache(folder)
    for i in range(300):
        cache.set(f"key{i}", b"%d:" % i * 200)
    cache.close()
    return folder


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    caplog.set_level(logging.WARNING, "llmcore")
    output: list[str] = []
    yield output
    output += [record.getMessage() for record in caplog.records]


def open_cache(folder: Path) -> FileCache:
    return FileCache(FileOptions(cache_dir=folder))


def read_all(folder: Path) -> tuple[int, int, str]:
    """Read in another process, which LMDB may kill; return the number of wrong and of existing entries, and its output."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"the reader ended with {done.returncode}: {done.stderr}"
    wrong, there, goes_on = done.stdout.split()
    assert goes_on == "True", "after damage the cache must take new entries"
    return int(wrong), int(there), done.stderr


def list_damaged(folder: Path) -> list[Path]:
    return list(folder.glob("data.mdb.damaged-*"))


def test_no_acknowledged_entry_is_lost_or_wrong_when_writers_are_killed(folder: Path) -> None:
    expected: dict[int, str] = {}
    chance = random.Random(7)  # noqa: S311 - no secret
    for round_ in range(20):
        start = round_ * 100_000
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(start)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 400)):
                note(writer.stdout.readline(), expected)
            os.kill(writer.pid, signal.SIGKILL)
            for line in writer.stdout:
                if line.endswith("\n"):
                    note(line, expected)
    cache = open_cache(folder)
    for i, sign in expected.items():
        value = b"%d:" % i * (i % 300 + 1)
        assert cache.get(f"key{i}") in {"+": (value,), "-": (None,), "?": (value, None)}[sign], f"key{i}"
    assert len(expected) > 1000
    assert list_damaged(folder) == []
    cache.close()


def note(line: str, expected: dict[int, str]) -> None:
    expected[int(line[1:])] = line[0]


def test_pages_that_a_killed_process_read_are_freed(folder: Path) -> None:
    code = (
        HEADER
        + """
env = cache._store._env
txn = env.begin()
print(txn.get(b"x"), flush=True)
sys.stdin.read()
"""
    )
    cache = FileCache(FileOptions(cache_dir=folder, max_size=2_000_000))  # type: ignore[arg-type]
    cache.set("key", b"value")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        reader.kill()
    for i in range(3000):
        cache.set(f"key{i}", b"x" * 1000)
    assert cache.get("key2999") == b"x" * 1000
    cache.close()


@pytest.mark.parametrize(
    "kept", [0, 1, 100, 4096, 4097, 8191, 8192, 12_288, 0.3, 0.5, 0.9, -4096, -1], ids=str
)
def test_a_truncated_file_is_set_aside_and_replaced(full_folder: Path, kept: float) -> None:
    data = full_folder / "data.mdb"
    size = data.stat().st_size
    length = int(size * kept) if isinstance(kept, float) else kept if kept >= 0 else size + int(kept)
    os.truncate(data, length)
    wrong, there, output = read_all(full_folder)
    assert (wrong, there) == (0, 0)
    if length:
        assert output.count("WARNING") == 1
        assert "was set aside as data.mdb.damaged-" in output
        (old,) = list_damaged(full_folder)
        assert old.stat().st_size == length
    assert read_all(full_folder)[2] == "", "the new file is whole"


@pytest.mark.parametrize("garbage", [b"garbage", b"\0", b"\xff", b"SQLite format 3\0"], ids=ascii)
def test_a_file_of_garbage_is_set_aside(full_folder: Path, garbage: bytes) -> None:
    data = full_folder / "data.mdb"
    data.write_bytes((garbage * 100_000)[: data.stat().st_size])
    wrong, there, output = read_all(full_folder)
    assert (wrong, there) == (0, 0)
    assert output.count("WARNING") == 1


def test_a_flipped_bit_in_the_first_pages_is_handled(full_folder: Path, warnings: list[str]) -> None:
    data = full_folder / "data.mdb"
    whole = data.read_bytes()
    for page in (0, 4096):
        for at in range(page, page + 16 + 136):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << at % 8
            data.write_bytes(flipped)
            for old in list_damaged(full_folder):
                old.unlink()
            cache = open_cache(full_folder)
            for i in (0, 150, 299):
                assert cache.get(f"key{i}") in (None, b"%d:" % i * 200)
            cache.close()
    assert warnings == []


def test_flipped_bits_in_entries_are_misses(full_folder: Path) -> None:
    data = full_folder / "data.mdb"
    whole = bytearray(data.read_bytes())
    for i in range(300):
        at = -1
        while (at := whole.find(b"%d:" % i * 200, at + 1)) >= 0:  # pages of before hold copies
            whole[at + i % 400] ^= 1 << i % 8
    data.write_bytes(whole)
    cache = open_cache(full_folder)
    assert [cache.get(f"key{i}") for i in range(300)] == [None] * 300
    assert list(cache.keys()) == []
    cache.set("key7", b"again")
    assert cache.get("key7") == b"again"
    assert list_damaged(full_folder) == [], "an entry was damaged, the file was not"
    cache.close()


def test_a_folder_from_before_a_power_cut_is_set_aside(full_folder: Path) -> None:
    (full_folder / "boot.mark").write_text("open 00000000-another-boot\n")
    wrong, there, output = read_all(full_folder)
    assert (wrong, there) == (0, 0)
    assert "the machine stopped before the file was synced" in output
    assert read_all(full_folder)[2] == ""


def test_a_folder_that_was_closed_before_the_machine_stopped_is_kept(full_folder: Path) -> None:
    (full_folder / "boot.mark").write_text("clean 00000000-another-boot\n")
    assert read_all(full_folder) == (0, 300, "")


def test_the_mark_is_open_after_a_write_and_clean_after_the_last_close(folder: Path) -> None:
    mark = folder / "boot.mark"
    cache, other = open_cache(folder), open_cache(folder)
    assert mark.read_text() == "", "no process wrote"
    cache.set("key", b"value")
    assert mark.read_text() == f"open {get_boot_id()}\n"
    cache.close()
    assert mark.read_text() == f"open {get_boot_id()}\n", "the other may write"
    other.close()
    assert mark.read_text() == f"clean {get_boot_id()}\n"
    again = open_cache(folder)
    assert again.get("key") == b"value"
    again.close()
    assert mark.read_text() == f"clean {get_boot_id()}\n"


def test_a_process_that_ends_without_closing_leaves_a_clean_mark(folder: Path) -> None:
    code = HEADER + "cache.set('key', b'value')"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)
    assert (folder / "boot.mark").read_text().startswith("clean ")


def test_the_mark_stays_open_until_the_last_process_closes(folder: Path) -> None:
    code = HEADER + "cache.set('other', b'value')\nprint(flush=True)\nsys.stdin.read()\n"
    cache = open_cache(folder)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        cache.set("key", b"value")
        cache.close()
        assert (folder / "boot.mark").read_text().startswith("open ")
        other.communicate(b"")
    assert (folder / "boot.mark").read_text().startswith("clean ")


def test_an_invalid_mark_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "boot.mark").write_bytes(b"\xff\0cle")
    mark = CrashMark(tmp_path, "this boot")
    assert not mark.is_trusted()
    mark.release()


def test_only_the_last_damaged_file_is_kept(full_folder: Path) -> None:
    for content in (b"first", b"second", b"third"):
        (full_folder / "data.mdb").write_bytes(content)
        open_cache(full_folder).close()
    (old,) = list_damaged(full_folder)
    assert old.read_bytes() == b"third"


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not limit the size of files")
def test_a_failed_write_is_a_cache_error_and_keeps_the_other_entries(full_folder: Path) -> None:
    code = (
        HEADER
        + """
import resource, signal
from llmcore.errors import CacheError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(sys.argv[1] + "/data.mdb")
cache.set("mark", b"written")
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
failed = 0
for i in range(50):
    try: cache.set(f"new{i}", b"x" * 50_000)
    except CacheError: failed += 1
there = sum(cache.get(f"key{i}") == b"%d:" % i * 200 for i in range(300))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
cache.set("after", b"there is room again")
print(failed > 0, there, cache.get("after"))
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(full_folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.strip() == "True 300 b'there is room again'", done.stderr
