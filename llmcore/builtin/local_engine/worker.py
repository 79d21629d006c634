"""A worker process of the engine `local`: `python -m llmcore.builtin.local_engine.worker`.

It reads calls from standard input and writes results to standard output, as messages with a length in front. At the end of the
input, also if the other process was killed, it completes the calls that have begun, and ends.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
from typing import IO, Final

import msgspec

from llmcore.support.threads import start_thread

__all__ = ["main", "read_message", "write_message"]

_LENGTH: Final = 8
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, str, str, bytes]).decode


def read_message(file: IO[bytes]) -> bytes | None:
    """Return the next message; None at the end of *file*, also in the middle of a message."""
    head = file.read(_LENGTH)
    size = int.from_bytes(head, "big") if len(head) == _LENGTH else 0
    body = file.read(size)
    return body if len(head) == _LENGTH and len(body) == size else None


def write_message(file: IO[bytes], body: bytes) -> None:
    """Write one message."""
    file.write(len(body).to_bytes(_LENGTH, "big") + body)
    file.flush()


def main() -> None:
    """Serve calls until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other process decides
    calls, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not reach the results
    lock = threading.Lock()
    threads: list[threading.Thread] = []
    while (message := read_message(calls)) is not None:
        threads = [thread for thread in threads if thread.is_alive()]
        thread = threading.Thread(target=_call, args=(message, results, lock), daemon=True)
        if start_thread(thread):
            threads.append(thread)
        else:
            _call(message, results, lock)
    for thread in threads:
        thread.join()


def _call(message: bytes, results: IO[bytes], lock: threading.Lock) -> None:
    number, module, name, data = _decode(message)
    value, error = b"", ""
    try:
        value = getattr(importlib.import_module(module), name)(data)
    except BaseException as raised:  # noqa: BLE001 - also SystemExit, which would end this thread without a result
        error = f"{type(raised).__name__}: {raised}"
    try:
        with lock:
            write_message(results, _encode((number, value, error)))
    except OSError:  # the other process has ended
        return


if __name__ == "__main__":
    main()
