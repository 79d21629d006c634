"""`llmcore store` on an object store: each kind of failure has its exit code."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine
from tests.kits.object_meddling import keeping
from tests.kits.object_servers import BUCKET, Server, needs_rclone, rclone

COMMANDS = (["ls"], ["get", "x"], ["put", "x", "llmcore.toml"], ["cp", "x", "y"], ["rm", "x"])


@pytest.fixture(scope="module")
def on_rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


def run_commands(folder: Path, endpoint: str, *, key_id: str = "any") -> Iterator[tuple[int, str]]:
    """Yield the exit code of every command, and the code of its error."""
    (folder / "llmcore.toml").write_text(
        f'[storage]\nprovider = "s3"\n[storage.s3]\nbucket = "{BUCKET}"\nendpoint = "{endpoint}"\nretries = 0\n'
        'access_key_id = "env:ID"\nsecret_access_key = "env:KEY"\n'
    )
    for command in COMMANDS:
        done = CommandLine(folder)("store", *command, ID=key_id, KEY="thing")
        assert "Traceback" not in done.stderr
        yield done.returncode, done.stderr.partition("]")[0]


def test_a_server_that_is_down_is_a_network_error(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert set(run_commands(tmp_path, endpoint)) == {(7, "error[LC807")}


def test_a_server_that_fails_is_a_network_error(tmp_path: Path) -> None:
    with keeping() as server:
        server.meddle = lambda _: 503
        assert set(run_commands(tmp_path, server.endpoint)) == {(7, "error[LC807")}


@needs_rclone
def test_refused_credentials_are_an_authentication_error(on_rclone: Server, tmp_path: Path) -> None:
    assert set(run_commands(tmp_path, on_rclone.endpoint, key_id="wrong")) == {(4, "error[LC808")}


def test_a_missing_permission_is_named(tmp_path: Path) -> None:
    with keeping() as server:
        server.meddle = lambda asked: 403 if asked.command in ("PUT", "POST") else None
        server.kept[f"/{BUCKET}/x"] = {"ETag": '"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, b""
        seen = dict(
            zip((command[0] for command in COMMANDS), run_commands(tmp_path, server.endpoint), strict=True)
        )
    del seen["ls"], seen["rm"]
    assert seen == {"get": (0, ""), "put": (1, "error[LC804"), "cp": (1, "error[LC804")}
