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
from llmcore_testing.simulator.separate_ledger import VARIABLE
from llmcore_testing.simulator.simulator import Simulator

__all__ = ["main"]

_KEPT: Final = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGINT or SIGTERM. Return the exit code."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        upstream = Simulator(
            port=options.port,
            api_keys=options.api_key,
            models=options.model,
            latency_s=options.latency,
            reply=options.reply,
            holds_batches=options.hold_batches,
            keep_requests=_KEPT,
        )
        for text in options.fault:
            fault, times = Fault.parse(text)
            upstream.fail(fault, times=times)
        upstream.start()
    except ConfigError as exc:
        parser.error(str(exc))
    except OSError as exc:
        sys.stderr.write(
            f"cannot listen on port {options.port}: {exc.strerror}\nTry another port, or --port 0 for a free one.\n"
        )
        return 1
    with upstream:
        sys.stdout.write(f"{upstream.base_url}\n")
        sys.stdout.flush()
        key = options.api_key[0] if options.api_key else "anything"
        sys.stderr.write(
            f"Set the environment: export OPENAI_BASE_URL={upstream.base_url} OPENAI_API_KEY={key} {VARIABLE}={os.environ[VARIABLE]}\n"
            f"Read the counts: curl {upstream.url}/_simulator/counts   (Ctrl-C stops the simulator)\n"
        )
        stopped.wait()
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llmcore_testing.simulator",
        description="A local HTTP server that speaks the protocols of OpenAI, Anthropic and ElevenLabs, for tests.",
        epilog=f"Faults: {', '.join(KINDS)}.",
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free port")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="SECONDS", help="the delay before each answer"
    )
    parser.add_argument("--reply", metavar="TEXT", help="the answer to every chat")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[:VALUE,NAME=VALUE,...]",
        help="a fault such as 429:retry_after=1,times=2 or cut_stream:times=always; default: times=1; repeatable",
    )
    parser.add_argument(
        "--hold-batches", action="store_true", help="let batches wait for POST /_simulator/finish_batches"
    )
    parser.add_argument("--api-key", action="append", metavar="KEY", help="accept only this key; repeatable")
    parser.add_argument("--model", action="append", metavar="NAME", help="accept only this model; repeatable")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
