"""Starts aimock, a mock server of another project that speaks the protocols of OpenAI, Anthropic and Ollama."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

__all__ = ["KEY", "run_aimock"]

KEY: Final = "sk-right"
"""The only key that it accepts."""
_PATIENCE_S: Final = 60.0


@contextmanager
def run_aimock(folder: Path, fixtures: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the address of a server that answers by *fixtures*; skip the test where aimock is not installed."""
    command = os.environ.get("LLMCORE_AIMOCK")
    if not command:
        pytest.skip("aimock is not installed (make aimock)")
    (folder / "answers.json").write_text(json.dumps({"fixtures": fixtures}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["node", command, "-p", str(port), "-f", str(folder), "--log-level", "warn"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "AIMOCK_API_KEYS": KEY},
    )
    try:
        _wait(server, f"http://127.0.0.1:{port}/v1/models")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=_PATIENCE_S)


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {KEY}"})  # noqa: S310 - http
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return
        time.sleep(0.05)
    raise AssertionError("aimock did not start")
