"""Helpers for the tests of the espeak plugin's worker processes: programs, processes and descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmcore_voice_espeak.pool import get_shared_pool
from llmcore_voice_espeak.provider import EspeakVoice

SPEAKER = """
import os, sys, time
from llmcore_voice_espeak.pool import get_shared_pool
from llmcore_voice_espeak.provider import EspeakVoice
voice = EspeakVoice()
voice.synthesize("Hello.")
pids = lambda: [worker._process.pid for worker in get_shared_pool()._workers]
"""
"""Begins a program that has spoken a text."""
linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that does not fork")


def list_children(parent: int) -> dict[int, str]:
    """Return the state of each child process of *parent*: "Z" is a zombie."""
    found: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, of, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(of) == parent:
            found[int(stat.parent.name)] = state
    return found


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def has_ended(pid: int) -> bool:
    return not is_alive(pid)


def find_workers() -> set[int]:
    """Return the processes of the pool that this process shares."""
    return {worker._process.pid for worker in get_shared_pool()._workers}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except OSError:
        return False


def run_python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run *code*. Newer versions of Python warn of every fork of a process with threads."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


@pytest.fixture
def no_workers() -> None:
    """End the workers that earlier tests left idle."""
    voice = EspeakVoice()
    voice.list_voices()
    get_shared_pool()._users.clear()
    voice.close()
    assert not find_workers()
