"""The simulator on the command line: `python -m llmcore_testing.simulator`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from threading import Event
from typing import Final

from llmcore.errors import ConfigError
from llmcore_testing.simulator.faults import KINDS, Fault
from llmcore_testing.simulator.own_ledger import VARIABLE
from llmcore_testing.simulator.simulator import Simulator

__all__ = ["main"]

_KEPT: Final = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = _parser()
    told = parser.parse_args(arguments)
    over = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    try:
        upstream = Simulator(
            port=told.port,
            api_keys=told.api_key,
            models=told.model,
            latency_s=told.latency,
            reply=told.reply,
            holds_batches=told.hold_batches,
            keep_requests=_KEPT,
        )
        for text in told.fault:
            fault, times = Fault.parse(text)
            upstream.fail(fault, times=times)
        upstream.start()
    except ConfigError as exc:
        parser.error(str(exc))
    except OSError as exc:
        sys.stderr.write(
            f"cannot listen on port {told.port}: {exc.strerror}\nTry another one, or --port 0 for any.\n"
        )
        return 1
    with upstream:
        sys.stdout.write(f"{upstream.base_url}\n")
        sys.stdout.flush()
        key = told.api_key[0] if told.api_key else "anything"
        sys.stderr.write(
            f"Use it: export OPENAI_BASE_URL={upstream.base_url} OPENAI_API_KEY={key} {VARIABLE}={os.environ[VARIABLE]}\n"
            f"Ask it: curl {upstream.url}/_simulator/counts   (Ctrl-C ends it)\n"
        )
        over.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llmcore_testing.simulator",
        description="An OpenAI-compatible server that answers at once and costs nothing.",
        epilog=f"Faults: {', '.join(KINDS)}.",
    )
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="SECONDS", help="how long each answer takes"
    )
    parser.add_argument("--reply", metavar="TEXT", help="the answer to every chat")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[:VALUE,NAME=VALUE,...]",
        help="such as 429:retry_after=1,times=2 or cut_stream:after=3,times=always; default: times=1; repeatable",
    )
    parser.add_argument(
        "--hold-batches", action="store_true", help="let batches wait for POST /_simulator/finish_batches"
    )
    parser.add_argument("--api-key", action="append", metavar="KEY", help="accept only this key; repeatable")
    parser.add_argument("--model", action="append", metavar="NAME", help="know only this model; repeatable")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
