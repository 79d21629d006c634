"""Gateways for tests: in a thread of this process, or as the command `llmcore serve`."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

import llmcore
from llmcore.core import Core
from llmcore_gateway.app import Application
from llmcore_gateway.gateway import Gateway
from llmcore_gateway.options import GatewayOptions
from llmcore_gateway.server import make_server
from llmcore_testing.simulator import Simulator
from tests.kits.waiting import wait_until

KEY = "sk-of-the-upstream"
MODEL = "gpt-4o-mini"
PATIENCE_S = 60.0


def make_config(upstream: Simulator, folder: Path, **tables: Any) -> dict[str, Any]:
    """Return a configuration for *upstream*, with a ledger in *folder*."""
    openai = {"base_url": upstream.base_url, "api_key": KEY}
    return {
        "llm": {"provider": "openai", "model": MODEL, "openai": openai},
        "cache": {"provider": "memory"},
        "ledger": {"path": str(folder / "ledger.sqlite3")},
        "models": {"fast": f"openai:{MODEL}"},
        "retry": {"attempts": 1},
        **tables,
    }


class Served(NamedTuple):
    """A gateway in a thread of this process."""

    core: Core
    application: Application
    url: str
    http: httpx2.Client
    """Its base address is the gateway's root."""

    def chat(self, text: str = "Hello", **fields: Any) -> httpx2.Response:
        headers = fields.pop("headers", None)
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}
        return self.http.post("/v1/chat/completions", json=body, headers=headers)


@contextmanager
def serving(config: Mapping[str, Any], **options: Any) -> Iterator[Served]:
    """Serve *config* with *options* of `[gateway]`."""
    with llmcore.load(config) as core, socket.create_server(("127.0.0.1", 0)) as listener:
        application = Application(Gateway(core, GatewayOptions(**options)))
        server = make_server(application, lambda: llmcore.load(config))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx2.Client(base_url=url, timeout=PATIENCE_S) as http:
            wait_until(lambda: application.state.phase == "ready" or not thread.is_alive())
            assert thread.is_alive(), "the server does not start"
            yield Served(core, application, url, http)
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server does not stop"


class Command:
    """The command `llmcore serve`, as a process."""

    def __init__(self, config: Path, *arguments: str, **variables: str) -> None:
        self._config = config
        self._errors = config.with_suffix(".log")
        with self._errors.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "llmcore",
                    "serve",
                    "--config",
                    str(config),
                    "--port",
                    "0",
                    *arguments,
                ],
                env={**os.environ, "UPSTREAM_KEY": KEY, **variables},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        wait_until(lambda: self._find_url() or self.process.poll() is not None)
        self.url = self._find_url() or ""
        assert self.url, self.log()
        self.http = httpx2.Client(base_url=self.url, timeout=PATIENCE_S)

    def wait_until_ready(self) -> None:
        wait_until(self.is_ready)

    def is_ready(self) -> bool:
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def log(self) -> str:
        return self._errors.read_text()

    def keys(self, *arguments: str) -> Any:
        """Run `llmcore keys` and return what it prints as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "llmcore", "keys", *arguments, "--json", "--config", str(self._config)],
            env={**os.environ, "UPSTREAM_KEY": KEY},
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    def close(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def _find_url(self) -> str | None:
        found = re.search(r"gateway on (http://\S+)/v1\n", self.log())
        return found[1] if found else None


def write_config(path: Path, upstream: Simulator, more: str = "") -> Path:
    """Write a configuration file for *upstream*; return its path."""
    path.write_text(
        f"""[llm]
provider = "openai"
model = "{MODEL}"

[llm.openai]
base_url = "{upstream.base_url}"
api_key = "env:UPSTREAM_KEY"

[ledger]
path = "./ledger.sqlite3"

[models]
fast = "openai:{MODEL}"

[retry]
attempts = 1

[gateway]
drain_delay = "300ms"
{more}"""
    )
    return path
