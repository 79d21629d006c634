"""A process that reads much of a file cache does not keep all its pages resident."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MOST_MB = 160
"""More than the growth at which pages are released, and what threads read meanwhile; much less than the file."""

PROGRAM = """
import sys, threading, time
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions
from llmcore.builtin.mapped_memory import measure_mapped_files
from llmcore.types import Size

cache = FileCache(FileOptions(cache_dir=sys.argv[1], max_size=Size(10**9)))
values = [bytes([number % 256]) * 64_000 for number in range(4000)]
before = measure_mapped_files()
for number, value in enumerate(values):
    cache.set(f"key {number}", value)
lowest, errors, ended = [], [], threading.Event()

def read():
    while not ended.is_set():
        for number, value in enumerate(values):
            if cache.get(f"key {number}") != value:
                errors.append(number)

threads = [threading.Thread(target=read) for _ in range(3)]
for thread in threads:
    thread.start()
deadline = time.monotonic() + 120
releases, last, most = 0, 0, int(sys.argv[2]) * 10**6
while releases < 3 and not errors and time.monotonic() < deadline:
    grown = measure_mapped_files() - before
    releases += grown < last - 30 * 10**6
    last = grown
    time.sleep(0.001)
ended.set()
for thread in threads:
    thread.join()
while measure_mapped_files() - before > most and time.monotonic() < deadline:
    for number in range(1024):
        cache.get(f"key {number}")
print(releases, errors, measure_mapped_files() - before <= most)
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not report resident pages")
def test_resident_pages_are_released_while_threads_read(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "cache"), str(MOST_MB)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "3 [] True"), done.stderr
