"""Calls succeed and read no wrong value when the folder of the file cache is damaged, moved or deleted."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import lmdb
import pytest

import llmcore
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions
from llmcore.cache import CacheManager

ASKED = os.environ.get("LLMCORE_KILLS")
"""Read at import: the fixtures remove our variables."""
KILLS = int(ASKED or "50")
HEADER = """
import logging, os, sys
import llmcore
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
folder = sys.argv[1]
def load():
    return llmcore.load({"cache": {"provider": "file", "memory": 0, "file": {"cache_dir": folder}}})
def ask(core, text):
    reply = core.llm.chat(text)
    assert reply.text == "You said: " + text, reply.text
    return reply.cached
"""
WRITER = """
import sys
from llmcore.cache import CacheManager
start = int(sys.argv[2])
cache = CacheManager(cache_dir=sys.argv[1], max_size="256MB", memory=0)
for i in range(start, start + 100_000):
    assert cache.set(f"key{i}", b"%d:" % i * (i % 300 + 1))
    print(f"+{i}", flush=True)
    if i % 3 == 2:
        print(f"?{i - 1}", flush=True)  # from here on it may be there or not
        cache.delete(f"key{i - 1}")
        print(f"-{i - 1}", flush=True)
    if i % 5 == 4:
        cache.get(f"key{i - 2}")
"""


def run(
    code: str, folder: Path, *arguments: str, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run *code* in another process, with the prefix command *before*; it must succeed."""
    done = subprocess.run(
        [*before, sys.executable, "-c", HEADER + code, str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder.parent,
        env={**os.environ, "HOME": str(folder.parent), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def read_warnings(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the warnings of the cache; the ledger, which is on the same disk, logs at most one."""
    output = [line for line in done.stderr.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    of_the_cache = [line for line in output if "the ledger " not in line]
    assert len(output) <= len(of_the_cache) + 1
    return of_the_cache


@pytest.mark.timeout(120 + KILLS)
def test_no_acknowledged_entry_is_lost_or_wrong_whichever_writer_is_killed(tmp_path: Path) -> None:
    """Kill `LLMCORE_KILLS` writers (default 50) while the next one works; check all entries after each 50."""
    folder = tmp_path / "cache"
    chance = random.Random(11)  # noqa: S311 - no secret
    acknowledged = 0
    for done in range(0, KILLS, 50):
        shutil.rmtree(folder, ignore_errors=True)  # else what is evicted would look lost
        expected: dict[int, str] = {}
        older = writer(folder, 0)
        for number in range(min(50, KILLS - done)):
            newer = writer(folder, number + 1)
            kill(older, chance.randrange(1, 250), expected)
            older = newer
        kill(older, 1, expected)
        cache = CacheManager(cache_dir=str(folder), max_size="256MB", memory=0)
        for i, sign in expected.items():
            value = b"%d:" % i * (i % 300 + 1)
            assert cache.get(f"key{i}") in {"+": (value,), "-": (None,), "?": (value, None)}[sign], f"key{i}"
        cache.close()
        assert list(folder.glob("*damaged*")) == []
        acknowledged += len(expected)
    assert acknowledged > 10 * KILLS
    if ASKED:
        sys.stdout.write(f"{KILLS} kills, {acknowledged} acknowledged entries, none lost, none wrong\n")


def writer(folder: Path, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(number * 100_000)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str], after: int, expected: dict[int, str]) -> None:
    """Kill a writer after *after* lines of output, and record its output."""
    with process:
        assert process.stdout is not None
        for _ in range(after):
            note(process.stdout.readline(), expected)
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout:
            if line.endswith("\n"):
                note(line, expected)


def note(line: str, expected: dict[int, str]) -> None:
    expected[int(line[1:])] = line[0]


def can_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


FULL = """
import resource, signal
core = load()
assert not ask(core, "before")
assert ask(core, "before")
def fill():
    if sys.argv[2:] == ["limit"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(folder + "/data.mdb"), resource.RLIM_INFINITY))
        return
    with open(folder + "/../filler", "wb", 0) as filler:
        for piece in (1_000_000, 4096, 1):
            try:
                while filler.write(bytes(piece)) == piece: pass
            except OSError: pass
def empty():
    if sys.argv[2:] == ["limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        os.unlink(folder + "/../filler")
fill()
kept = [ask(core, f"{i} " + "large " * 10_000) or ask(core, f"{i} " + "large " * 10_000) for i in range(20)]
assert not all(kept), "the disk was never full"
assert ask(core, "before")
empty()
assert not ask(core, "after " + "large " * 10_000)
assert ask(core, "after " + "large " * 10_000)
core.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not limit the size of files")
@pytest.mark.parametrize("way", ["limit", *(["tmpfs"] if can_mount() else [])])
def test_calls_succeed_on_a_full_disk_with_one_warning_an_operation(tmp_path: Path, way: str) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    before: tuple[str, ...] = ()
    if way == "tmpfs":
        mounted = 'mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@"'
        before = ("unshare", "-m", "sh", "-c", mounted, str(place))
    done = run(FULL, place / "cache", way, before=before)
    lines = read_warnings(done)
    assert len(lines) <= 2, "one for values, one for leases"
    assert any("cache `file` refuses to store a value, calls go on: the cache in" in line for line in lines)


READ_ONLY = """
import time
logging.disable()  # the user that runs it may not be able to read the libraries later
real = folder
for folder in (real + "-warm", os.path.join(sys.executable, "no folder")):
    core = load()
    for _ in range(4): ask(core, "warm")
    core.close()
folder = real
logging.disable(logging.NOTSET)
core = load()
if os.geteuid() == 0:
    os.chown(folder, 65534, 65534)
    for name in os.listdir(folder): os.chown(os.path.join(folder, name), 65534, 65534)
    os.setgid(65534), os.setuid(65534)
os.chmod(folder, 0o500)
for i in range(10):
    assert not ask(core, f"{i % 2}")
print("answered", flush=True)
os.chmod(folder, 0o700)
for name in os.listdir(folder): os.chmod(os.path.join(folder, name), 0o600)
end = time.monotonic() + 60
while not ask(core, "again"):
    assert time.monotonic() < end
    time.sleep(0.01)
core.close()
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no users to change to")
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_calls_succeed_with_a_read_only_folder_and_one_warning(open_folder: Path, *, filled: bool) -> None:
    folder = open_folder / "cache"
    folder.mkdir()
    if filled:
        run("ask(load(), 'before')", folder)
        for path in folder.iterdir():
            path.chmod(0o400)
    output = [line.partition(" WARNING ")[2] or line for line in read_warnings(run(READ_ONLY, folder))]
    assert len(output) == 2, output
    assert "cache `file` fails, calls go on without it: the cache cannot use the folder" in output[0]
    assert "works again" in output[1]


def test_calls_succeed_if_the_folder_is_deleted(tmp_path: Path) -> None:
    code = """
import shutil
core = load()
ask(core, "one"), ask(core, "two")
shutil.rmtree(folder)
for i in range(50):
    assert not ask(core, f"new {i} " + "large " * 1000)
    assert ask(core, f"new {i} " + "large " * 1000)
core.close()
core = load()
assert not ask(core, "one"), "a folder that was created again is empty"
assert ask(core, "one")
core.close()
"""
    assert read_warnings(run(code, tmp_path / "cache")) == []


@pytest.mark.parametrize("file", ["data.mdb", "lock.mdb", "boot.mark", "use.map"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_calls_succeed_if_the_file_was_truncated_between_two_runs(
    tmp_path: Path, file: str, kept: float
) -> None:
    folder = tmp_path / "cache"
    run("core = load()\nfor i in range(30): ask(core, f'{i}')\ncore.close()", folder)
    path = folder / file
    os.truncate(path, int(path.stat().st_size * kept))
    done = run(
        "core = load()\nfor i in range(30): ask(core, f'{i}')\nassert ask(core, '7')\ncore.close()", folder
    )
    assert len(read_warnings(done)) <= 1
    assert read_warnings(run("assert ask(load(), '7')", folder)) == []


@pytest.mark.parametrize("version", [0, 2, 255])
def test_entries_of_another_format_version_are_misses_and_are_evicted(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "cache"
    config = {
        "cache": {"provider": "file", "memory": 0, "file": {"cache_dir": str(folder), "max_size": "1MB"}}
    }
    with llmcore.load(config) as core:
        assert not core.llm.chat("Hello").cached
        assert core.llm.chat("Hello").cached
    assert change_version(folder, version) == 1
    with llmcore.load(config) as core:
        assert not core.llm.chat("Hello").cached, "an entry of another version was read"
        assert core.llm.chat("Hello").cached
        core.cache.set("other", b"x")
    change_version(folder, version)
    with llmcore.load(config) as core:
        for number in range(300):
            assert not core.llm.chat(f"{number} " + "large " * 1000).cached
    assert change_version(folder, version, only_count=True) == 0, "unreadable entries are evicted first"


def change_version(folder: Path, version: int, *, only_count: bool = False) -> int:
    """Change the version of all entries and update their checksums; return their number."""
    count = 0
    with lmdb.open(str(folder), max_readers=1022) as env, env.begin(write=True) as txn:
        for slot, data in list(txn.cursor()):
            at = data.find(b"LLC")
            if at >= 0 and (not only_count or data[at + 3] == version):
                changed = data[: at + 3] + bytes([version]) + data[at + 4 : -4]
                txn.put(slot, changed + crc32(changed).to_bytes(4, "little"))
                count += 1
    return count


TAKER = """
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions
cache = FileCache(FileOptions(cache_dir=folder))
sys.stdin.readline()
print(sum(cache.acquire(f"work {i}", sys.argv[2], 3600) for i in range(200)))
"""


def test_one_of_several_processes_acquires_each_lease(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HEADER + TAKER, str(tmp_path / "cache")]
    takers = [
        subprocess.Popen([*command, f"holder {n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("\n")
        taker.stdin.flush()
    assert sum(int(taker.communicate(timeout=60)[0]) for taker in takers) == 200


def test_the_version_changes_with_writes_of_another_process_but_not_with_reads(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    manage = "from llmcore.cache import CacheManager\ncache = CacheManager(cache_dir=folder, memory=0)\n"
    cache = FileCache(FileOptions(cache_dir=folder))
    versions = [cache.version()]
    for work in ("cache.set('key', 1)", "cache.delete('key')", "cache.set('key', 2)", "cache.clear()"):
        run(manage + work, folder)
        versions.append(cache.version())
        run(manage + "[cache.get('key') for _ in range(100)]", folder)
        assert cache.version() == versions[-1], "reading changed the version"
    assert len(set(versions)) == len(versions)
    cache.close()
