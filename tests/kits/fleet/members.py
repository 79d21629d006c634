"""The processes of the fleet, each with its own connections to PostgreSQL and Redis, which can be cut."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Final

import msgspec

from llmcore_testing.tcp_proxy import TcpProxy

__all__ = ["PATIENCE_S", "Member", "Servers"]

PATIENCE_S: Final = 120.0
"""The maximum wait for anything, in seconds. A busy machine is not a fault."""
_CONFIG: Final = """
[llm]
provider = "openai"
model = "gpt-4o-mini"

[llm.openai]
base_url = "{upstream}"
api_key = "env:FLEET_KEY"

[prices."openai:gpt-4o-mini"]
input = 1
output = 1

[retry]
attempts = 1

[ledger]
provider = "postgres"
path = "{folder}/ledger.sqlite3"

[ledger.postgres]
url = "env:FLEET_LEDGER"
heartbeat = "250ms"
silence = "2s"
connect_timeout = "10s"
lease = "{lease}"

[limits]
requests_per_minute = {rate}

[limits.shared]
url = "env:FLEET_LIMITS"
processes = {processes}
"""
_reads = msgspec.json.Decoder(dict[str, int]).decode


class Servers(msgspec.Struct, frozen=True):
    """What all processes of a fleet share."""

    upstream: str
    """The address of the language model."""
    ledger: str
    """PostgreSQL: "host:port"."""
    database: str
    limits: str
    """Redis: "host:port"."""
    rate: int
    """Requests a minute of all processes together."""
    processes: int
    lease: str
    """How long a process leases a part of a budget: "0s" for never."""
    budgets: str
    """The tables of the budgets."""


class Member:
    """One process."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.ledger = TcpProxy(servers.ledger)
        self.limits = TcpProxy(servers.limits)
        self._folder = folder
        self._servers = servers
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self.is_stopped = False

    def start(self) -> None:
        """Start the process, and wait until it takes runs."""
        if not self._folder.exists():
            self._folder.mkdir(parents=True)
            self.ledger.__enter__()
            self.limits.__enter__()
            values = {**msgspec.structs.asdict(self._servers), "folder": self._folder}
            self._config.write_text(_CONFIG.format_map(values) + self._servers.budgets)
        with (self._folder / "errors").open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kits.fleet.worker", str(self._config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=Path(__file__).parents[3],
                env={
                    **os.environ,
                    "FLEET_KEY": "sk-fleet",
                    "FLEET_LEDGER": f"postgresql://postgres@{self.ledger.address}/{self._servers.database}",
                    "FLEET_LIMITS": f"redis://{self.limits.address}/0",
                },
            )
        self._lines = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(self._process.stdout, self._lines), daemon=True).start()
        assert self._read_line() == "ready", self.read_errors()

    def begin(self, tag: str, calls: int) -> None:
        """Let the process spend the budget of *tag*, with at most *calls* calls in each thread."""
        pipe = self._get_process().stdin
        assert pipe is not None
        pipe.write(f"{tag} {calls}\n")
        pipe.flush()

    def finish(self) -> dict[str, int]:
        """Wait for the end of the run; return how often each outcome occurred."""
        line = self._read_line()
        assert line, f"a process of the fleet ended: {self.read_errors()}"
        return _reads(line)

    def stop(self) -> None:
        """Stop the process with SIGSTOP, as a frozen machine."""
        self.is_stopped = True
        self._get_process().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue a stopped process."""
        self.is_stopped = False
        self._get_process().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        process = self._get_process()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()

    def close(self) -> None:
        """Kill the process, and close its connections."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if self._folder.exists():
            self.ledger.__exit__()
            self.limits.__exit__()

    def read_errors(self) -> str:
        """Return what the process wrote to stderr."""
        return (self._folder / "errors").read_text()[-4000:]

    @property
    def _config(self) -> Path:
        return self._folder / "llmcore.toml"

    def _get_process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def _read_line(self) -> str:
        try:
            return self._lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            pid = self._get_process().pid
            os.kill(pid, signal.SIGABRT)  # faulthandler writes the stacks
            self._get_process().wait()
            raise AssertionError(f"a process of the fleet hangs: {self.read_errors()}") from None


def _read_lines(source: IO[str] | None, lines: queue.SimpleQueue[str]) -> None:
    assert source is not None
    try:
        for line in source:
            lines.put(line.strip())
    except ValueError:  # the process was killed, and its pipe closed
        pass
    lines.put("")
