"""Run the conformance kits of every backend in random orders: `make shuffle`.

Each file of a kit runs several times, each time with its tests in another order (pytest-random-order), with every warning as an error, and
every second time in two processes at once (pytest-xdist). A test that needs another one before it fails. A seed repeats an order.
"""

from __future__ import annotations

import argparse
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
KITS: Final = (
    "plugins/*/tests/**/test_*_conformance.py",
    "tests/builtin/test_builtin_caches.py",
    "tests/builtin/test_builtin_echo.py",
    "tests/builtin/test_builtin_sqlite_ledger.py",
)
TIMEOUT_S: Final = 1800.0


def find_kits(words: Sequence[str]) -> list[str]:
    """Return the files whose path contains one of *words*, or all of them."""
    found = sorted({str(file.relative_to(ROOT)) for pattern in KITS for file in ROOT.glob(pattern)})
    return [file for file in found if not words or any(word in file for word in words)]


def make_command(file: str, seed: int, processes: int) -> list[str]:
    """Return the command that runs *file* in the order of *seed*."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error",
        "--random-order-bucket=module", f"--random-order-seed={seed}", file,
    ]  # fmt: skip
    return [*command, "-n", str(processes)] if processes else command


def run(file: str, seed: int, processes: int) -> bool:
    """Run one file, print one line, and the end of the output if a test failed."""
    begun = time.monotonic()
    command = make_command(file, seed, processes)
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        code, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as exc:
        code, said = -1, f"not finished after {TIMEOUT_S:.0f} s\n{exc.stdout!r}"
    passed = code == 0 and " passed" in said
    how = f"{processes} processes" if processes else "1 process"
    last = said.strip().rpartition("\n")[2]
    print(f"{file}  seed {seed}, {how}, {time.monotonic() - begun:.0f} s: {last}", flush=True)
    if not passed:
        print(said[-6000:], f"\nThe same order again: {shlex.join(command)}", flush=True)
    return passed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kits; return the exit code of the program."""
    parser = argparse.ArgumentParser(prog="make shuffle", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="parts of the paths of files; all files if none is given")
    parser.add_argument("--seeds", type=int, default=4, help="orders of each file (default: 4)")
    parser.add_argument("--first", type=int, help="the first seed (default: a random one)")
    given = parser.parse_args(arguments)
    first = random.randrange(10**6) if given.first is None else given.first
    files = find_kits(given.words)
    if not files:
        parser.error(f"no kit contains {' or '.join(given.words)}")
    failed = [
        (file, first + number)
        for file in files
        for number in range(given.seeds)
        if not run(file, first + number, processes=2 * (number % 2))
    ]
    print(f"{len(files)} files in {given.seeds} orders each from seed {first} on: {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
