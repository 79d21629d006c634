"""Ctrl-C and cancellation end a call at once, also if the server hangs, and abort its upload."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from llmcore.types import Secret
from llmcore_storage_object import async_uploads, stores
from llmcore_storage_object.plugin import MemoryOptions, S3Options
from llmcore_storage_object.provider import SigningStorage
from tests.kits.cli import CommandLine, press_ctrl_c, restore_ctrl_c
from tests.kits.object_meddling import Asked, Keeping, keeping
from tests.kits.object_servers import BUCKET, Server, moto, needs_moto

SIX_MB = bytes(6 << 20)
"""More than one part."""


@pytest.fixture(scope="module")
def on_moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Keeping]:
    with keeping() as server:
        yield server


def make_storage(endpoint: str, bucket: str = "b") -> SigningStorage:
    return stores.make_s3_storage(
        S3Options(
            bucket=bucket, endpoint=endpoint, access_key_id=Secret("any"), secret_access_key=Secret("thing")
        )
    )


def count_uploads(server: Server) -> int:
    """Return the number of uploads in progress."""
    with urllib.request.urlopen(f"{server.endpoint}/{BUCKET}?uploads") as answer:  # noqa: S310 - our own server
        return len(re.findall("<UploadId>", answer.read().decode()))


class Hanging:
    """Let the server hang at the requests of *methods*, and signal the first one."""

    def __init__(self, server: Keeping, *methods: str) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self._server, self._methods = server, methods

    def __enter__(self) -> Self:
        self._server.meddle = self._hang
        return self

    def __exit__(self, *args: object) -> None:
        self.released.set()

    def _hang(self, asked: Asked) -> str | None:
        if asked.command not in self._methods:
            return None
        self.reached.set()
        self.released.wait(100)
        return "drop"


def start_command(
    cli: CommandLine, endpoint: str, bucket: str, arguments: Sequence[str]
) -> subprocess.Popen[bytes]:
    (cli.folder / "llmcore.toml").write_text(
        f'[storage]\nprovider = "s3"\n[storage.s3]\nbucket = "{bucket}"\nendpoint = "{endpoint}"\n'
        'access_key_id = "env:ID"\nsecret_access_key = "env:KEY"\n'
    )
    return subprocess.Popen(
        [*cli.command, "store", *arguments],
        cwd=cli.folder, env=cli.env | {"ID": "any", "KEY": "thing"}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=restore_ctrl_c,  # noqa: PLW1509 - nothing is locked here
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["get", "x"], ["ls"], ["ls", "-l"], ["rm", "x"], ["cp", "x", "y"], ["put", "x", "llmcore.toml"]],
)
def test_ctrl_c_ends_a_command_while_the_server_hangs(
    server: Keeping, tmp_path: Path, arguments: list[str]
) -> None:
    with (
        Hanging(server, "GET", "HEAD", "PUT", "POST") as hanging,
        start_command(CommandLine(tmp_path), server.endpoint, "b", arguments) as process,
    ):
        assert hanging.reached.wait(60)
        press_ctrl_c(process)
        out, errors = process.communicate(
            timeout=20
        )  # the server would be given up after 30 seconds, four times
    assert (process.returncode, out, b"Traceback" in errors or b"Exception" in errors) == (130, b"", False), (
        errors
    )


@needs_moto
def test_ctrl_c_aborts_the_upload_of_a_command(on_moto: Server, tmp_path: Path) -> None:
    kept = make_storage(on_moto.endpoint, BUCKET)
    kept.save("large", b"before")
    with start_command(CommandLine(tmp_path), on_moto.endpoint, BUCKET, ["put", "large"]) as process:
        assert process.stdin is not None
        process.stdin.write(SIX_MB)
        process.stdin.flush()
        while not count_uploads(on_moto):
            assert process.poll() is None
        press_ctrl_c(process)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert (count_uploads(on_moto), kept.load("large")) == (0, b"before")


class Interrupt(KeyboardInterrupt):
    """A stand-in for a Ctrl-C while the source is read."""


@needs_moto
@pytest.mark.parametrize("error", [Interrupt, ZeroDivisionError])
def test_a_source_that_fails_aborts_the_upload(on_moto: Server, error: type[BaseException]) -> None:
    kept = make_storage(on_moto.endpoint, BUCKET)

    def pieces() -> Iterator[bytes]:
        yield SIX_MB
        while not count_uploads(on_moto):
            yield b""
        raise error

    async def apieces() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    with pytest.raises(error):
        kept.save_stream("fails", pieces())
    if error is not Interrupt:  # it would end the loop
        with pytest.raises(error):
            asyncio.run(kept.asave_stream("fails", apieces()))
    assert (count_uploads(on_moto), kept.exists("fails")) == (0, False)


@needs_moto
def test_a_cancelled_save_aborts_the_upload(on_moto: Server) -> None:
    kept = make_storage(on_moto.endpoint, BUCKET)

    async def main(*, waiting: bool) -> None:
        sent = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            while not await asyncio.to_thread(count_uploads, on_moto):
                yield SIX_MB
            sent.set()
            if waiting:
                await asyncio.Event().wait()
            while True:
                yield SIX_MB
                await asyncio.sleep(0)

        saving = asyncio.create_task(kept.asave_stream("cancelled", pieces()))
        await sent.wait()
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert count_uploads(on_moto) == 0, "the parts must be deleted when the call ends"

    asyncio.run(main(waiting=True))
    asyncio.run(main(waiting=False))
    assert not kept.exists("cancelled")


def test_a_cancelled_save_does_not_wait_for_ever(server: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_uploads, "GRACE_S", 0.1)
    kept = make_storage(server.endpoint)
    kept.save("other", b"")

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield SIX_MB

    async def main(hanging: Hanging) -> None:
        saving = asyncio.create_task(kept.asave_stream("cancelled", pieces()))
        assert await asyncio.to_thread(hanging.reached.wait, 60)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(saving), 60)

    for methods in (("POST",), ("PUT", "DELETE")):
        with Hanging(server, *methods) as hanging:
            asyncio.run(main(hanging))


def test_pieces_are_fetched_in_the_thread_or_task_that_saves() -> None:
    kept = stores.make_memory_storage(MemoryOptions())
    seen: list[Any] = []

    def pieces() -> Iterator[bytes]:
        seen.append(threading.current_thread())
        yield b"piece"

    async def apieces() -> AsyncIterator[bytes]:
        seen.append(asyncio.current_task())
        yield b"piece"

    async def main() -> None:
        await kept.asave_stream("b", apieces())
        assert seen.pop() is asyncio.current_task()

    kept.save_stream("a", pieces())
    assert seen.pop() is threading.current_thread()
    asyncio.run(main())
    assert (kept.load("a"), kept.load("b")) == (b"piece", b"piece")
