"""A worker process of the engine `local`: `python -m llmcore.builtin.local_engine.worker`.

The worker reads calls from standard input and writes results to standard output. A length precedes each message. At the end
of the input, the worker completes the calls that have begun, and ends. The input also ends if the process that started the
worker is killed.
"""

from __future__ import annotations

import gc
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
    """Return the next message; None at the end of *file*, also if the last message is incomplete."""
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
    # Ctrl-C reaches the whole process group, but the process that started the worker decides when the worker ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calls, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps the output of libraries out of the results
    # Requests in flight are many objects without reference cycles, so collect garbage as rarely as the command line does.
    gc.set_threshold(100_000, *gc.get_threshold()[1:])
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
