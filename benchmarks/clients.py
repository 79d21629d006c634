"""The first lines of the programs of several rows, as text: the programs run in environments without this package.

A program that measures itself leaves its start out: it looks at the CPU time of its process after few calls and after
many more, when everything is closed, and prints the difference for one call.
"""

from __future__ import annotations

from typing import Final

__all__ = ["TIMED", "TOGETHER", "UPSTREAM"]

TIMED: Final = """
import sys, time, timeit

def timed(call, many, end=lambda: None, few=None, **names):
    timer = timeit.Timer(call, "import gc; gc.enable()", globals=names)
    timer.timeit(few or many // 10)
    started = time.process_time()
    timer.timeit(many)
    end()
    print((time.process_time() - started) / many * 1e6)
"""
"""Offers `timed`, which prints the CPU time, in microseconds, of the statement *call*."""

UPSTREAM: Final = """
import os, urllib.request

def posts():
    with urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/posts") as answer:
        return int(answer.read())
"""
"""Defines `posts`, which returns the number of requests that the upstream has received."""

TOGETHER: Final = """
import subprocess, sys

def together(count, *arguments):
    # Each worker prints that it is ready, and begins when it reads a line. Return the last word that each one printed.
    program = sys.orig_argv[1 : sys.orig_argv.index("-c") + 2]
    command = [sys.executable, *program, *arguments]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    for worker in workers:
        while (line := worker.stdout.readline()) != "ready\\n":
            assert line, "a worker ended before it was ready"
    for worker in workers:
        worker.stdin.write("go\\n")
        worker.stdin.flush()
    said = [worker.communicate()[0] for worker in workers]
    assert not any(worker.returncode for worker in workers)
    return [words.split()[-1] for words in said]

def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""
"""Defines `together`, which runs the program again in *count* processes at once, and `ready`, which these call."""
