"""The latency of calls that are written to a ledger of many rows while another process reads reports of it.

Calls are made in turn without a second process, next to a process that only computes, and next to the reader, half a second
each. The computing process shows what the reader's share of the processor costs; the rest is the cost of reading the ledger.

    python -m benchmarks.ledger_reader --rows 1000000 --seconds 40
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import llmcore
from tests.kits.usage_rows import add_rows, make_rows

__all__: list[str] = []

_PHASE_S: Final = 0.5
_PHASES: Final = ("alone", "computing", "reading")
_COMPUTE: Final = "while True: sum(range(10**6))"


def main() -> None:
    """Measure and print the percentiles of each phase."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--ledger", type=Path, help="an existing ledger, in place of a new one")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read is not None:
        _read(args.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = args.ledger or Path(folder) / "ledger.sqlite3"
        with _open(path) as core:
            if args.ledger is None:
                add_rows(core, make_rows(args.rows, time.time(), days=90))
            _report(_measure(core, path, args.seconds))


def _open(path: Path) -> llmcore.Core:
    return llmcore.load(
        {"llm": {"provider": "echo"}, "cache": {"provider": "memory"}, "ledger": {"path": str(path)}}
    )


def _read(path: Path) -> None:
    groups: list[Any] = [("day", "model"), "user", "tag"]
    with _open(path) as core:
        while True:
            for group in groups:
                core.usage.by(group, since="90d")
                core.usage.by(group, since="90d", key="nobody")  # reads the rows, not stored sums


def _measure(core: llmcore.Core, path: Path, seconds: float) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "benchmarks.ledger_reader", "--read", str(path)]
    others = {
        "computing": subprocess.Popen([sys.executable, "-c", _COMPUTE]),
        "reading": subprocess.Popen(command),
    }
    found: dict[str, list[float]] = {phase: [] for phase in _PHASES}
    try:
        time.sleep(3)  # the reader imports llmcore
        for other in others.values():
            os.kill(other.pid, signal.SIGSTOP)
        ends = time.monotonic() + seconds
        number, order = 0, _PHASES
        while time.monotonic() < ends:
            for phase in order:
                number += _run_phase(core, others.get(phase), found[phase], number)
            order = order[::-1]
    finally:
        for other in others.values():
            with suppress(ProcessLookupError):
                os.kill(other.pid, signal.SIGCONT)
            other.kill()
            other.wait()
    return found


def _run_phase(core: llmcore.Core, other: Any, latencies: list[float], number: int) -> int:
    if other is not None:
        os.kill(other.pid, signal.SIGCONT)
    ends, calls = time.monotonic() + _PHASE_S, 0
    while time.monotonic() < ends:
        start = time.perf_counter()
        core.llm.chat(f"call {number + calls}", cache=False)
        latencies.append(time.perf_counter() - start)
        calls += 1
    if other is not None:
        os.kill(other.pid, signal.SIGSTOP)
    return calls


def _report(found: dict[str, list[float]]) -> None:
    base = None
    for phase, latencies in found.items():
        cuts = statistics.quantiles(latencies, n=1000)
        p50, p99 = cuts[499] * 1e6, cuts[989] * 1e6
        base = p99 if phase == "computing" else base
        more = f"  {p99 / base - 1:+.1%} of computing" if base and phase == "reading" else ""
        print(f"{phase:10} {len(latencies):7} calls  p50 {p50:7.0f} us  p99 {p99:7.0f} us{more}")


if __name__ == "__main__":
    main()
