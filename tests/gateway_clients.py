"""Clients of other projects against the gateway: `make clients` runs all of them, and the suite runs the installed ones.

Each client runs in a fork of one process, with a simulated upstream and a gateway, through the same cases. `python -m
tests.gateway_clients openai litellm` runs some of them; those from npm are installed in `.cache/gateway_clients` first. The exit
code is 1 if a case failed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from llmcore_testing.simulator import Fault, Simulator
from tests.kits import gateway_cases
from tests.kits.gateway import MODEL, Served, make_config, serving

PYTHON: Final = ("openai", "openai-async", "anthropic", "langchain-openai", "litellm", "llm", "pydantic-ai")
SHARED: Final = ("anthropic", "openai", "pydantic")
"""Most clients use them: to import them once for all saves a second for each."""
NPM: Final[Mapping[str, tuple[str, ...]]] = {
    "npm-openai": ("openai@6",),
    "npm-ai": ("ai@5", "@ai-sdk/openai-compatible@1", "zod@4"),
    "npm-codex": ("@openai/codex@0",),
    "npm-claude-code": ("@anthropic-ai/claude-code@2",),
}
COMMAND_LINE_CASES: Final = ["chat", "other vendor"]
"""The cases of Codex and Claude Code: each with a model of its own vendor and one of the other. Claude Code retries a wrong key for minutes."""
ROOT: Final = Path(__file__).parents[1]
_ENDED: Final = 100
"""The exit code of a client's process that has tried all its cases; 101 if one of them failed. Every other code is a crash."""
MODELS: Final = {
    "fast": f"openai:{MODEL}",
    "embed": "openai:text-embedding-3-small",
    "claude": "anthropic:claude-sonnet-5",
}
CALL: Final = {"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]}


def prepare(case: str, upstream: Simulator) -> None:
    """Make *upstream* answer what *case* asks for."""
    if case == "tools":
        upstream.replies(CALL)
    elif case == "structured":
        upstream.replies('{"name": "Oslo"}')
    elif case == "429":
        upstream.fail(Fault.status(429, retry_after=7), times=None)


def check(case: str, upstream: Simulator) -> None:
    """Check what the upstream received in *case*."""
    if case == "images":
        assert gateway_cases.PIXEL in str(upstream.requests[-1].body)
    if case in {"chat", "stream"}:
        assert upstream.requests, "the upstream received no request"
        assert upstream.requests[-1].body["model"] in {MODEL, "claude-sonnet-5"}


def run_cases(names: list[str], run: Callable[[str, Served], None]) -> int:
    """Run *names*, each with an upstream and a gateway of its own; print the outcomes; return how many failed."""
    failed = 0
    for case in names:
        with tempfile.TemporaryDirectory() as folder, Simulator() as upstream:
            prepare(case, upstream)
            config = make_config(upstream, Path(folder), models=MODELS)
            config["llm"]["anthropic"] = {"base_url": upstream.url, "api_key": "sk-ant-test"}
            with serving(config) as gateway:
                if case == "wrong key":
                    gateway.core.keys.create("ann")
                try:
                    run(case, gateway)
                    check(case, upstream)
                except Exception as error:  # noqa: BLE001 - the report of this client names it
                    failed += 1
                    print(f"  {case}: FAILED: {describe(error)}", flush=True)
                else:
                    print(f"  {case}: ok", flush=True)
    return failed


def describe(error: Exception) -> str:
    """Return the error, and the line that raised it: an `assert` without a text has no other description."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return (
        f"{type(error).__name__}: {str(error)[:500] or last.line} ({Path(last.filename).name}:{last.lineno})"
    )


def run_python(client: str) -> int:
    """Run the cases of a client from PyPI; return how many failed."""
    cases = gateway_cases.CLIENTS[client]()
    return run_cases(list(cases), lambda case, gateway: cases[case](gateway.url))


def run_npm(client: str) -> int:
    """Install a client from npm and run its cases; return how many failed."""
    folder = ROOT / ".cache" / "gateway_clients" / client
    script = folder / "client.mjs"
    if not (folder / "node_modules").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--loglevel=error", "--no-audit", "--no-fund", "--no-save", "--no-package-lock"]
        subprocess.run(["npm", "install", *options, "--prefix", str(folder), *NPM[client]], check=True)
    script.write_bytes((ROOT / "tests" / "kits" / f"gateway_{client.replace('-', '_')}.mjs").read_bytes())

    def run(case: str, gateway: Served) -> None:
        done = subprocess.run(
            ["node", str(script), case, f"{gateway.url}/v1"],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
        if done.returncode:
            raise AssertionError(done.stderr)

    is_sdk = client in {"npm-openai", "npm-ai"}
    return run_cases(list(gateway_cases.CLIENTS["openai"]()) if is_sdk else COMMAND_LINE_CASES, run)


def run_in_fork(client: str) -> int:
    """Run the cases of *client* in a fork of this process; return 1 if one failed."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _ENDED + run_client(client)
        except BaseException:  # noqa: BLE001 - told, and shown by the exit code
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (_ENDED, _ENDED + 1):
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        print(f"  process: FAILED: {how} before all cases were tried", flush=True)
    return int(code != _ENDED)


def run_client(client: str) -> int:
    """Run the cases of *client*; return 1 if one failed."""
    print(client, flush=True)
    return min(1, run_npm(client) if client in NPM else run_python(client))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gateway_clients", description=__doc__)
    parser.add_argument("clients", nargs="*", help="default: all", metavar="CLIENT")
    clients = parser.parse_args(arguments).clients or [*PYTHON, *NPM]
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    if len(clients) == 1:
        return run_client(clients[0])
    for name in SHARED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as home:
        os.environ["LLM_USER_PATH"] = home
        codes = [run_in_fork(client) for client in clients]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
